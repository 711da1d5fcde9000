"""What the single rewards of several came to: their means, and how often each could not be had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any


@dataclass(frozen=True, slots=True)
class SingleReward:
    """One of several rewards over some completions: the mean of those that have it (None: none), the share without."""

    mean: float | None
    failed: float

    def to_json(self) -> dict[str, float | None]:
        """Return the JSON form."""
        return {"mean": self.mean, "failed": self.failed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SingleReward":
        """Return what `to_json` made. Raises KeyError, TypeError or ValueError where it is none."""
        return cls(None if data["mean"] is None else float(data["mean"]), float(data["failed"]))

    def __str__(self) -> str:
        """Return the mean, and the failures where there are any."""
        said = "none" if self.mean is None else f"{self.mean:.3f}"
        return f"{said} ({100 * self.failed:.1f} % failed)" if self.failed else said


def singles_of(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> dict[str, SingleReward]:
    """Return each named reward over completions [G] with one number, or None, for each name."""
    singles = {}
    for place, name in enumerate(names):
        given = [row[place] for row in rows if len(row) > place]
        known = [value for value in given if value is not None]
        mean = fsum(known) / len(known) if known else None
        singles[name] = SingleReward(mean, 1.0 - len(known) / len(given) if given else 0.0)
    return singles
