"""Mean rewards before and after, where rewards are more than right or wrong: accuracy alone would not show them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.power import LEVEL
from creditree.evaluate.statistics import Difference, Estimate, Interval, bootstrap_mean, paired_mean_difference
from creditree.report.wording import p_value
from creditree.rng import Key

NOTE = (
    "Rewards are not all 0 or 1 here: correct means a reward of at least 1 (of several, the first), and the mean "
    "reward says more."
)
HEADER = ("decoding", "before", "after", "difference", "p")


def num_graded(evaluation: Evaluation) -> int:
    """Return how many completions have a reward that is neither 0 nor 1."""
    return sum(attempt.reward is not None and attempt.reward not in (0.0, 1.0) for attempt in evaluation.all)


def mean_rewards(evaluation: Evaluation) -> dict[str, float]:
    """Return the mean reward of each problem's judged completions; a problem without one is left out."""
    judged = {name: [r for r in rewards if r is not None] for name, rewards in evaluation.rewards.items()}
    return {name: sum(rewards) / len(rewards) for name, rewards in judged.items() if rewards}


def reward_estimate(evaluation: Evaluation, key: Key) -> Estimate | None:
    """Return the mean reward over problems with its bootstrap interval; None where no completion was judged."""
    means = list(mean_rewards(evaluation).values())
    return bootstrap_mean(means, key) if means else None


@dataclass(frozen=True, slots=True)
class RewardChange:
    """Mean reward before and after on the problems that were judged on both sides, under one way of decoding."""

    before: Estimate
    after: Estimate
    difference: Difference

    @classmethod
    def of(cls, before: Evaluation, after: Evaluation, key: Key) -> "RewardChange | None":
        """Return the change; None where all rewards are 0 or 1, which accuracy says, or no problem makes a pair."""
        if not (num_graded(before) or num_graded(after)):
            return None
        old, new = mean_rewards(before), mean_rewards(after)
        pairs = [name for name in old if name in new]
        if not pairs:
            return None
        first, second = [old[name] for name in pairs], [new[name] for name in pairs]
        return cls(
            bootstrap_mean(first, key.at("before")),
            bootstrap_mean(second, key.at("after")),
            paired_mean_difference(first, second, key.at("difference")),
        )

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        d = self.difference
        evidence = f"{_change(d)}, {p_value(d.p_value)}"
        if d.p_value < LEVEL and 0 not in d.interval:
            return f"the mean reward is {'higher' if d.value > 0 else 'lower'} after: {evidence}, n = {d.n}."
        return f"the mean rewards before and after are not distinguishable at n = {d.n}: {evidence}."

    def sentence(self) -> str:
        """Return both means and their difference in one line."""
        d, (before, after) = (
            self.difference,
            (reward_text(estimate.value, estimate.interval) for estimate in (self.before, self.after)),
        )
        return f"mean reward {before} before, {after} after, {_change(d)}, {p_value(d.p_value)}"

    def row(self, name: str) -> tuple[str, ...]:
        """Return the cells of a table's row under `HEADER`."""
        p = p_value(self.difference.p_value).removeprefix("p ").removeprefix("= ")
        before, after = (reward_text(estimate.value, estimate.interval) for estimate in (self.before, self.after))
        return name, before, after, _change(self.difference), p

    def to_json(self) -> dict[str, Any]:
        """Return the change as ``summary.json`` has it."""
        return {
            "before": self.before.to_json() | {"mean_reward": self.before.value},
            "after": self.after.to_json() | {"mean_reward": self.after.value},
            "difference": self.difference.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RewardChange":
        """Return the change that `to_json` made. Raises KeyError, TypeError or ValueError where it is none."""
        change, before = data["difference"], Estimate.from_json(data["before"])
        return cls(before, Estimate.from_json(data["after"]), Difference.from_json(change, before.n))


def reward_text(value: float, interval: Interval) -> str:
    """Return ``0.812 (0.790, 0.834)``."""
    return f"{value:.3f} ({interval.low:.3f}, {interval.high:.3f})"


def conclusions(rewards: Mapping[str, RewardChange]) -> Iterable[str]:
    """Yield one sentence a decoding."""
    return (f"{name}: {change.conclusion()}" for name, change in rewards.items())


def _change(change: Difference) -> str:
    return "{} ({}, {})".format(*map(_signed, (change.value, change.interval.low, change.interval.high)))


def _signed(value: float) -> str:
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text
