"""Can reinforcement learning work here? What several completions of some problems say before anything is trained.

Learning by comparison needs problems that are sometimes solved and sometimes not: a group of completions that are all
right, or all wrong, teaches nothing. Everything here is computed from the number c of correct completions among K of
each problem, without another draw, and is unbiased for fresh completions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from typing import Any, Literal

from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.evaluate.at_k import pass_at_k
from creditree.evaluate.power import detectable_gain
from creditree.evaluate.scores import mean_over_problems
from creditree.evaluate.statistics import Estimate
from creditree.rng import Key

Prospect = Literal["works", "weak", "solved", "no_signal"]
GROUPS = (4, 8, 16)
"""Sizes of groups that are looked at: the completions of a problem bound them."""
ENOUGH = 0.9
"""The smallest group with this share of the largest one's mixed groups is taken."""
CALM = 0.8
"""The coolest temperature with this share of the largest spread is taken."""
LITTLE_SIGNAL, NO_SIGNAL = 0.2, 0.05
SOLVED = 0.97


@dataclass(frozen=True, slots=True)
class Signal:
    """What a group of `group` completions teaches: `mixed`, the share of groups in which not all have one outcome.

    `spread` is the expected standard deviation of the outcomes in a group (0 to 0.5), the size of the advantages.
    """

    group: int
    mixed: Estimate
    spread: float


@dataclass(frozen=True, eq=False, slots=True)
class Outlook:
    """What K completions of some problems at one temperature say.

    `headroom` is pass@K - pass@1: what the model finds sometimes and could learn to find always. `flips`: the share of
    problems whose outcome changes between two draws.
    """

    temperature: float
    samples: int
    accuracy: Estimate
    best_of: Estimate
    signals: tuple[Signal, ...]
    truncated: float
    unparsable: float
    tokens: float
    flips: float

    @property
    def headroom(self) -> float:
        """pass@K - pass@1."""
        return self.best_of.value - self.accuracy.value

    def signal(self, group: int) -> Signal:
        """Return the signal of groups of a size that was looked at."""
        return next(signal for signal in self.signals if signal.group == group)

    def to_json(self) -> dict[str, Any]:
        """Return the outlook as JSON."""
        estimates = {"accuracy": self.accuracy.to_json(), "best_of": self.best_of.to_json()}
        signals = [asdict(signal) | {"mixed": signal.mixed.to_json()} for signal in self.signals]
        return asdict(self) | estimates | {"signals": signals, "headroom": self.headroom}


def mixed_share(correct: int, samples: int, group: int) -> float:
    """Return the chance that `group` different completions, drawn from `samples`, are neither all right nor all wrong.

    1 - C(c, G) / C(K, G) - C(K - c, G) / C(K, G): unbiased for 1 - p^G - (1 - p)^G with fresh completions.
    """
    return 1.0 - (comb(correct, group) + comb(samples - correct, group)) / comb(samples, group)


def expected_spread(correct: int, samples: int, group: int) -> float:
    """Return the expected standard deviation of the 0/1 rewards of `group` completions drawn from `samples`.

    sum_j P(j of G right) sqrt(j/G (1 - j/G)), with P hypergeometric.
    """
    total = comb(samples, group)
    counts = range(max(0, group - (samples - correct)), min(group, correct) + 1)
    return sum(
        comb(correct, j) * comb(samples - correct, group - j) / total * sqrt(j / group * (1 - j / group))
        for j in counts
    )


def outlook(evaluation: Evaluation, temperature: float, key: Key) -> Outlook:
    """Return what an evaluation with several completions a problem says; `key` draws the bootstrap."""
    samples = max(map(len, evaluation.attempts.values()))
    attempts = [
        own for own in evaluation.judged.values() if len(own) == samples
    ]  # one that a judge failed on tells nothing
    correct = [sum(map(is_correct, own)) for own in attempts]
    n = len(correct)
    signals = tuple(
        Signal(
            group,
            mean_over_problems([mixed_share(c, samples, group) for c in correct], key.at("mixed", group)),
            sum(expected_spread(c, samples, group) for c in correct) / n,
        )
        for group in GROUPS
        if group <= samples
    )
    return Outlook(
        temperature,
        samples,
        mean_over_problems([c / samples for c in correct], key.at("accuracy")),
        mean_over_problems([pass_at_k(samples, c, samples) for c in correct], key.at("best")),
        signals,
        evaluation.num_truncated / evaluation.num_completions,
        evaluation.statuses.get("unparsable", 0) / evaluation.num_completions,
        evaluation.num_tokens / evaluation.num_completions,
        sum(2 * c * (samples - c) / (samples * max(1, samples - 1)) for c in correct) / n,
    )


def best_temperature(outlooks: Sequence[Outlook]) -> Outlook:
    """Return the outlook with the largest expected spread in its largest groups; the coolest of nearly equal ones.

    A temperature at which accuracy falls below half of the best one's is left out: there the model is sampled far from
    what it does when it is used.
    """
    best = max(outlook.accuracy.value for outlook in outlooks)
    usable = [outlook for outlook in outlooks if outlook.accuracy.value >= best / 2]
    most = max(outlook.signals[-1].spread for outlook in usable)
    good = (outlook for outlook in usable if outlook.signals[-1].spread >= CALM * most)
    return min(good, key=lambda outlook: outlook.temperature)


def best_group(outlook: Outlook, most: int) -> int:
    """Return the smallest size, of at least 8 where so many fit, with 90 % of the mixed groups of the largest.

    Larger groups estimate each advantage better, and smaller ones see more problems for as many completions. `most`:
    the largest that fits.
    """
    fitting = [signal for signal in outlook.signals if signal.group <= max(most, GROUPS[0])]
    enough = ENOUGH * fitting[-1].mixed.value
    least = min(GROUPS[1], fitting[-1].group)
    return next(signal.group for signal in fitting if signal.group >= least and signal.mixed.value >= enough)


def verdict(outlook: Outlook, group: int) -> tuple[Prospect, str]:
    """Return whether learning by comparison can work, and why."""
    mixed, accuracy = outlook.signal(group).mixed, outlook.accuracy
    share = (
        f"{mixed.value:.0%} of the groups of {group} are mixed ({mixed.interval.low:.0%} to {mixed.interval.high:.0%})"
    )
    if accuracy.interval.low > SOLVED:
        return "solved", f"the base model solves {accuracy.value:.0%} already: there is nothing to gain"
    if mixed.value < NO_SIGNAL and mixed.interval.high < LITTLE_SIGNAL:
        return (
            "no_signal",
            f"{share}: nearly all completions of a problem get one reward, so there is nothing to learn from",
        )
    if mixed.value < LITTLE_SIGNAL:
        return "weak", f"{share}: learning will be slow, since most of what is sampled teaches nothing"
    return (
        "works",
        f"{share}, and {outlook.headroom:.0%} more of the problems are solved by one of {outlook.samples} completions",
    )


def advice(outlook: Outlook) -> str:
    """Return what to change where there is no signal."""
    if outlook.truncated > 0.5:
        return f"{outlook.truncated:.0%} of the completions are cut off: raise `max_new_tokens`"
    if outlook.accuracy.value > 0.5:
        return "take harder problems: most of these are solved every time"
    if outlook.unparsable > 0.5:
        return f"in {outlook.unparsable:.0%} of the completions no answer is found: change `prompt` or `reward`"
    return "take easier problems, a stronger base model, or begin with worked solutions (a column `solution`)"


def seconds_to_detect(
    gain: float, gain_low: float, seconds: float, detectable: float
) -> tuple[float | None, float | None]:
    """Return (expected, latest) seconds of training until the gain can be seen, if it goes on growing as it did.

    `gain`: what `seconds` of training brought, `gain_low` the lower end of its interval; None where it is not positive.
    """
    expected, latest = (seconds * detectable / value if value > 0 else None for value in (gain, gain_low))
    return expected, latest


def smallest_gain(outlook: Outlook, num_test: int) -> float | None:
    """Return the gain that a test of `num_test` problems sees in four of five cases, by this outlook's flips."""
    return detectable_gain(num_test, outlook.flips)
