"""The course of runs: numbers by step, and their spread over the runs that differ in their seed only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditree.overview.run import RunOverview
from creditree.report.curves import Series
from creditree.runs.setting import labels_of

FloatArray = NDArray[np.float64]
Metrics = Sequence[Mapping[str, Any]]
Points = tuple[FloatArray, FloatArray]
SMOOTHED, OF_ALL = 10, 5
"""Steps that one point of a curve averages, at most: and no more than one of so many of the run."""
MOST_POINTS = 240
"""Points of a curve: more are not seen, and make the page large."""


def groups_of(runs: Sequence[RunOverview]) -> dict[str, list[RunOverview]]:
    """Return the runs that differ in their seed only, by what they are called (`labels_of`); each seed counts once."""
    groups: dict[str, list[RunOverview]] = {}
    for run, label in zip(runs, labels_of([run.setting for run in runs], [run.name for run in runs]), strict=True):
        members = groups.setdefault(label, [])
        if run.seed is None or all(run.seed != member.seed for member in members):
            members.append(run)
    return groups


def series_of(groups: Mapping[str, Sequence[RunOverview]], points: Callable[[Metrics], Points]) -> list[Series]:
    """Return a line for each group that has points, of the runs that have."""
    lines = {label: [points(run.metrics) for run in members] for label, members in groups.items()}
    known = {label: [(x, y) for x, y in of_runs if len(x)] for label, of_runs in lines.items()}
    return [Series(label, of_runs) for label, of_runs in known.items() if of_runs]


def recorded(name: str) -> Callable[[Metrics], Points]:
    """Return what reads an entry of the metrics, where it has a number."""
    return lambda metrics: _points((record["step"], record.get(name)) for record in metrics)


def smoothed(points: Callable[[Metrics], Points], width: int = SMOOTHED) -> Callable[[Metrics], Points]:
    """Return what averages each point with at most `width` - 1 before it; fewer points where there are many."""

    def averaged(metrics: Metrics) -> Points:
        x, y = points(metrics)
        size = max(1, min(width, len(y) // OF_ALL))
        if not len(y):
            return x, y
        mean = np.convolve(y, np.full(size, 1.0 / size), mode="valid")
        return thinned((x[size - 1 :], mean))

    return averaged


def thinned(points: Points) -> Points:
    """Return at most `MOST_POINTS` of some points, the first and the last among them."""
    x, y = points
    if len(x) <= MOST_POINTS:
        return points
    places = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.int64))
    return x[places], y[places]


def share(part: str, whole: str = "completions") -> Callable[[Metrics], Points]:
    """Return what reads how much of one count another was, in each step: the metrics have the sums so far."""

    def of_steps(metrics: Metrics) -> Points:
        steps, parts, wholes = ([record.get(name, 0) for record in metrics] for name in ("step", part, whole))
        sums = np.array([parts, wholes], dtype=np.float64)
        made, of = np.diff(sums, axis=1, prepend=0.0)
        known = of > 0
        return np.array(steps, dtype=np.float64)[known], made[known] / of[known]

    return of_steps


def total(name: str) -> Callable[[Metrics], Points]:
    """Return what reads a count so far."""
    return lambda metrics: thinned(recorded(name)(metrics))


def _points(pairs: Iterable[tuple[Any, Any]]) -> Points:
    known = [(x, y) for x, y in pairs if isinstance(y, int | float) and np.isfinite(y)]
    return np.array([x for x, _ in known], dtype=np.float64), np.array([y for _, y in known], dtype=np.float64)
