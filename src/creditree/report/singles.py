"""The single rewards that a reward is a sum of, before and after training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditree.evaluate.accuracy import Evaluation
from creditree.rewards import SingleReward

HEADER = ("decoding", "reward", "before", "after")
TITLE = "single rewards: mean"


@dataclass(frozen=True, slots=True)
class SingleChange:
    """One of several rewards before and after, over all completions of a measurement."""

    before: SingleReward
    after: SingleReward

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"before": self.before.to_json(), "after": self.after.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SingleChange":
        """Return what `to_json` made. Raises KeyError, TypeError or ValueError where it is none."""
        return cls(SingleReward.from_json(data["before"]), SingleReward.from_json(data["after"]))


Singles = Mapping[str, Mapping[str, SingleChange]]
"""By decoding, and by name."""


def single_changes(names: Sequence[str], before: Evaluation, after: Evaluation) -> dict[str, SingleChange]:
    """Return the change of each named reward."""
    old, new = before.single_rewards(names), after.single_rewards(names)
    return {name: SingleChange(old[name], new[name]) for name in names}


def single_rows(singles: Singles) -> list[tuple[str, ...]]:
    """Return the cells of a table under `HEADER`: one row a decoding and reward."""
    return [
        (decoding, name, str(change.before), str(change.after))
        for decoding, changes in singles.items()
        for name, change in changes.items()
    ]


def singles_json(singles: Singles) -> dict[str, dict[str, Any]]:
    """Return the JSON form of all."""
    return {
        decoding: {name: change.to_json() for name, change in changes.items()} for decoding, changes in singles.items()
    }


def singles_from(data: Mapping[str, Any]) -> dict[str, dict[str, SingleChange]]:
    """Return what `singles_json` made. Raises KeyError, TypeError or ValueError where it is none."""
    return {
        decoding: {name: SingleChange.from_json(change) for name, change in changes.items()}
        for decoding, changes in data.items()
    }
