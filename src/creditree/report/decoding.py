"""Accuracy before and after training under one way of decoding, and that of the tasks of a mixture."""

from collections.abc import Mapping
from dataclasses import dataclass

from creditree.evaluate.statistics import Difference, Estimate, paired_difference, wilson
from creditree.report.wording import p_value, points

LEVEL = 0.05
"""A difference is claimed where the 95 % interval excludes 0 and p is below this."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Accuracy before and after on the same problems, under one way of decoding.

    `unjudged`: problems that are left out, because a completion got no reward on one side or both.
    """

    before: Estimate
    after: Estimate
    difference: Difference
    unjudged: int = 0

    @classmethod
    def of(cls, before: Mapping[str, int | None], after: Mapping[str, int | None]) -> "Decoding":
        """Compare 0/1 by problem id, in pairs; None: not judged.

        Raises ValueError where the problems are not the same, or none was judged on both sides.
        """
        if before.keys() != after.keys():
            raise ValueError("before and after were measured on different problems: they make no pairs")
        pairs = [(a, b) for a, b in ((before[one], after[one]) for one in before) if a is not None and b is not None]
        old, new = [a for a, _ in pairs], [b for _, b in pairs]
        n = len(pairs)
        return cls(wilson(sum(old), n), wilson(sum(new), n), paired_difference(old, new), len(before) - n)

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        d = self.difference
        interval = f"95 % interval {points(d.interval.low)} to {points(d.interval.high)}"
        evidence = f"{points(d.value)} points ({interval}), {p_value(d.p_value)}"
        left_out = f" {self.unjudged} more got no reward and are left out." if self.unjudged else ""
        if d.p_value < LEVEL and 0 not in d.interval:
            return f"after is {'better' if d.value > 0 else 'worse'}: {evidence}, n = {d.n}.{left_out}"
        return f"before and after are not distinguishable at n = {d.n}: {evidence}.{left_out}"


Tasks = Mapping[str, Mapping[str, Decoding]]
"""By task of a mixture, and by decoding."""


def decoding_json(decoding: Decoding) -> dict[str, object]:
    """Return "before", "after" and "difference" as ``summary.json`` has them."""
    return {
        "before": decoding.before.to_json() | {"accuracy": decoding.before.value},
        "after": decoding.after.to_json() | {"accuracy": decoding.after.value},
        "difference": decoding.difference.to_json() | {"unjudged": decoding.unjudged},
    }


def decoding_from(data: object) -> Decoding:
    """Return what `decoding_json` made. Raises KeyError, TypeError or ValueError where it is none."""
    entry = mapping(data)
    before, after = (Estimate.from_json(mapping(entry[name])) for name in ("before", "after"))
    change = mapping(entry["difference"])
    return Decoding(before, after, Difference.from_json(change, before.n), int(number(change.get("unjudged", 0))))


def tasks_json(tasks: Tasks) -> dict[str, dict[str, object]]:
    """Return the accuracies of tasks as ``summary.json`` has them."""
    return {task: {name: decoding_json(one) for name, one in found.items()} for task, found in tasks.items()}


def tasks_from(data: Mapping[str, object]) -> dict[str, dict[str, Decoding]]:
    """Return what `tasks_json` made. Raises KeyError, TypeError or ValueError where it is none."""
    return {
        task: {name: decoding_from(entry) for name, entry in mapping(found).items()} for task, found in data.items()
    }


def mapping(data: object) -> Mapping[str, object]:
    """Return a JSON object. Raises TypeError for anything else."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{data!r} is not an object")
    return data


def number(data: object) -> float:
    """Return a number of JSON. Raises TypeError for anything else."""
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise TypeError(f"{data!r} is not a number")
    return data
