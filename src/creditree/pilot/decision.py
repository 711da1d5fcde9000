"""What to do now: a recommendation from the gain, the guard set and the risks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from creditree.evaluate.power import LEVEL
from creditree.evaluate.statistics import Difference, Estimate
from creditree.pilot.concentration import CONCENTRATED, Concentration

Decision = Literal["use", "use_with_care", "extend", "stop", "nothing_to_gain", "no_signal", "suspect_grader"]
MOST_TIMES = 20
"""Beyond this many times the training, an extrapolation is not worth printing."""
COLLAPSED = 0.5
"""More than this share of all answers being one answer is a risk, where the right answers are not like that."""
TRUNCATED_MORE = 0.05
TRUNCATED = 0.2


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is recommended, in a sentence."""

    decision: Decision
    text: str

    @property
    def mood(self) -> str:
        """How a reader should take it: good, bad or neutral."""
        return {"use": "good", "stop": "bad", "no_signal": "bad", "suspect_grader": "bad"}.get(self.decision, "neutral")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the decision depends on. Truncations are shares of the test's completions; `detectable` as a share."""

    before: Estimate
    after: Estimate
    difference: Difference
    truncated_before: float
    truncated_after: float
    constant: float
    detectable: float | None
    guard: Mapping[str, Any] | None = None


def risks(outcome: Outcome, concentration: Concentration | None, answer: tuple[str, float], right: float) -> list[str]:
    """Return the risks as sentences.

    `answer`: the commonest answer after training, with its share; `right`: the share of problems that accept it.
    """
    listed = []
    more = outcome.truncated_after - outcome.truncated_before
    if more > TRUNCATED_MORE:
        listed.append(
            f"completions are cut off more often: {outcome.truncated_after:.0%} after training, "
            f"{outcome.truncated_before:.0%} before"
        )
    elif outcome.truncated_after > TRUNCATED:
        listed.append(f"{outcome.truncated_after:.0%} of the completions are cut off: raise `max_new_tokens`")
    if concentration is not None:
        listed += concentration_risks(concentration)
    if answer[1] > COLLAPSED and answer[1] > 2 * right:
        listed.append(
            f"{answer[1]:.0%} of the answers are '{answer[0]}', which is right for {right:.0%} of the problems"
        )
    if outcome.after.value <= outcome.constant > 0:
        listed.append(f"always giving the commonest answer would do as well: {outcome.constant:.0%}")
    if outcome.guard is not None and outcome.guard["worse"]:
        listed.append(f"guard set: {outcome.guard['conclusion']}")
    return listed


def concentration_risks(concentration: Concentration) -> list[str]:
    """Return the sentences of a learning signal that went to few places."""
    listed = []
    if concentration.top_problem > CONCENTRATED:
        listed.append(f"one problem had {concentration.top_problem:.0%} of the learning signal")
    listed += [
        f"one token, {token.text!r}, had {token.signal:.0%} of the learning signal"
        for token in concentration.tokens
        if token.signal > CONCENTRATED and token not in concentration.over_selected
    ]
    shown = ", ".join(
        f"{token.text!r} ({token.signal:.0%} of the signal, {token.sampled:.1%} of the text)"
        for token in concentration.over_selected[:3]
    )
    if shown:
        listed.append(f"over-selected tokens: {shown}")
    return listed


def recommend(outcome: Outcome, listed: Sequence[str], times: tuple[float, float] | None) -> Recommendation:
    """Return the recommendation after training.

    `times`: how many times this training it takes until a gain could be seen, by the best trial: expected, and at most;
    None: the trials do not say.
    """
    d, forgets = outcome.difference, outcome.guard is not None and bool(outcome.guard["worse"])
    if d.p_value < LEVEL and d.value > 0 and 0 not in d.interval:
        if forgets:
            text = "A gain was shown, but the guard set got worse: do not use the adapter where that matters."
            return Recommendation("use_with_care", text)
        if listed:
            text = "A gain was shown. Look at the risks before using the adapter."
            return Recommendation("use_with_care", text)
        return Recommendation("use", "A gain was shown, and no risk was seen: use the adapter, and monitor it.")
    if d.p_value < LEVEL and d.value < 0 and 0 not in d.interval:
        text = "The model got worse: do not use the adapter; look at the examples and the risks."
        return Recommendation("stop", text)
    if forgets:
        return Recommendation("stop", "No gain was shown, and the guard set got worse: do not use the adapter.")
    seen = ""
    if outcome.detectable is not None:
        seen = f" On {d.n} problems a gain under {100 * outcome.detectable:.0f} points mostly stays unseen."
    return Recommendation("extend", f"No gain was shown.{seen} {_longer(times)}")


def _longer(times: tuple[float, float] | None) -> str:
    if times is None or times[0] > MOST_TIMES:
        return "Try more problems, a longer budget or a stronger base."
    if times[0] <= 1:
        return "The trials predicted a gain by now: try other settings, more problems or a stronger base."
    return f"By the best trial, training {times[0]:.1f} times as long (at most {times[1]:.1f}) could show one."
