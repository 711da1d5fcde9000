"""Where to branch a completion: at the start of early steps of high influence (arXiv 2509.26628, equation 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from creditree.influence import zeroed
from creditree.steps import Step
from creditree.tree import FloatArray, IntArray

Mask = NDArray[np.bool_]
GapFrom = Literal["prompt", "response"]
QuantileOver = Literal["steps", "eligible"]
Fallback = Literal["first_steps", "relax"]


@dataclass(frozen=True, slots=True)
class BranchRule:
    """Where to fork a completion: at most `points` different token offsets, each the first token of a step.

    Candidates are the steps with y_k >= the `quantile` of y (linear interpolation; the least positive score where that
    is 0). The earliest of them are taken that lie `min_gap` tokens or more from the start, from one another and from
    what is already forked.

    Where no step has any influence, all are equal: every eligible step is a candidate, and as in the authors' code
    those after the thinking too, unless `quantile_over` or `fallback` are ours.

    `gap_from`: the start is that of the ``prompt`` (the authors' code) or of the ``response``.
    `quantile_over`: all ``steps``, zeros included (the authors' code), or the ``eligible`` ones: no excluded step, and
    none of the last `delta`, whose influence is 0 by definition.
    `fallback`, where too few are found: ``first_steps`` adds steps 2, 3, ... whatever their place (the authors' code,
    which goes on with duplicates and never ends on a completion of one step); ``relax`` halves the gap until it is 0,
    then adds the next best scores. Never a duplicate: a completion of too few steps is forked fewer times.
    """

    points: int = 2
    quantile: float = 0.8
    min_gap: int = 512
    gap_from: GapFrom = "prompt"
    quantile_over: QuantileOver = "steps"
    fallback: Fallback = "first_steps"
    delta: int = 4

    def pick(
        self,
        scores: FloatArray,
        steps: Sequence[Step],
        *,
        prompt_tokens: int = 0,
        think_step: int | None = None,
        after: int = 0,
        forked: Sequence[int] = (),
    ) -> tuple[int, ...]:
        """Return the offsets for a completion whose S steps have the raw influence `scores` [S].

        The first step, and all from `think_step` on, count as 0 and are no candidates. `after`, `forked`: in a later
        round, how many tokens are inherited, and the offsets forked before.
        """
        starts, stops = (np.array([step[end] for step in steps], dtype=np.int64) for end in (0, 1))
        y = zeroed(scores, think_step)
        free = (starts > after) & ~np.isin(starts, list(forked))
        eligible = free & (np.arange(len(y)) < (len(y) if think_step is None else think_step))
        lead = prompt_tokens if self.gap_from == "prompt" else 0
        taken = [(at, int(stops[starts == at].max(initial=at))) for at in forked]
        candidates = self._candidates(y, free, eligible, starts >= after)
        chosen, gap = _earliest(candidates, starts, stops, self.points, self.min_gap, lead, taken), self.min_gap
        if self.fallback == "first_steps":
            chosen = _filled(chosen, np.flatnonzero(free), self.points)
        else:
            while len(chosen) < self.points and gap > 0:
                gap //= 2
                chosen = _earliest(candidates, starts, stops, self.points, gap, lead, taken)
            best = np.flatnonzero(eligible)
            chosen = _filled(chosen, best[np.argsort(-y[best], kind="stable")], self.points)
        return tuple(sorted(int(starts[k]) for k in chosen))

    def _candidates(self, y: FloatArray, free: Mask, eligible: Mask, own: Mask) -> Mask:
        """Return which steps are candidates; `own`: those that the completion did not inherit."""
        known = eligible & (np.arange(len(y)) < len(y) - self.delta)
        ranked = y[known if self.quantile_over == "eligible" else own]
        as_authors = (self.quantile_over, self.fallback) == ("steps", "first_steps")
        if as_authors and not (ranked > 0).any():
            return free
        return np.asarray(eligible & (y >= _threshold(ranked, self.quantile)))


def influential_steps(scores: FloatArray, quantile: float, think_step: int | None = None) -> IntArray:
    """Return the steps with y_k >= the `quantile` of y, in order: not the first, none from `think_step` on."""
    y = zeroed(scores, think_step)
    chosen = np.flatnonzero(y >= _threshold(y, quantile))
    return chosen[(chosen > 0) & (chosen < (len(y) if think_step is None else think_step))]


def _threshold(scores: FloatArray, quantile: float) -> float:
    positive = scores[scores > 0]
    if not len(positive):
        return 0.0
    return float(np.quantile(scores, quantile)) or float(positive.min())


def _earliest(
    candidates: Mask,
    starts: IntArray,
    stops: IntArray,
    points: int,
    gap: int,
    lead: int,
    taken: Sequence[tuple[int, int]],
) -> list[int]:
    chosen: list[int] = []
    intervals = list(taken)
    for k in np.flatnonzero(candidates):
        if len(chosen) == points:
            break
        start, stop = int(starts[k]), int(stops[k])
        if start + lead >= gap and all(max(start - end, begin - stop) >= gap for begin, end in intervals):
            chosen.append(int(k))
            intervals.append((start, stop))
    return chosen


def _filled(chosen: list[int], spare: IntArray, points: int) -> list[int]:
    more = [int(k) for k in spare if int(k) not in chosen]
    return [*chosen, *more[: max(0, points - len(chosen))]]
