"""Where to branch a completion: at the start of early steps of high influence (arXiv 2509.26628, equation 7)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from creditree.influence import zeroed
from creditree.steps import Step
from creditree.tree import FloatArray, IntArray

GapFrom = Literal["prompt", "response"]
QuantileOver = Literal["steps", "eligible"]
Fallback = Literal["first_steps", "relax"]


def pick_branches(
    scores: FloatArray,
    steps: Sequence[Step],
    points: int = 2,
    *,
    quantile: float = 0.8,
    min_gap: int = 512,
    gap_from: GapFrom = "prompt",
    quantile_over: QuantileOver = "steps",
    fallback: Fallback = "first_steps",
    prompt_tokens: int = 0,
    think_step: int | None = None,
    delta: int = 4,
    after: int = 0,
    forked: Sequence[int] = (),
) -> tuple[int, ...]:
    """Return where to fork a completion: at most `points` different token offsets, each the first token of a step.

    `scores` [S] is the raw influence of its S steps. The first step, and all from `think_step` on, count as 0 and are
    no candidates. Candidates are the steps with y_k >= the `quantile` of y (linear interpolation; the least positive
    score where that is 0). The earliest of them are taken that lie `min_gap` tokens or more from the start, from one
    another and from what is already `forked`.

    Where no step has any influence, all are equal: every eligible step is a candidate, and as in the authors' code
    those from `think_step` on too, unless `quantile_over` or `fallback` are ours.

    `gap_from`: the start is that of the ``prompt`` (the authors' code) or of the ``response``.
    `quantile_over`: all ``steps``, zeros included (the authors' code), or the ``eligible`` ones: no excluded step, and
    none of the last `delta`, whose influence is 0 by definition.
    `fallback`, where too few are found: ``first_steps`` adds steps 2, 3, ... whatever their place (the authors' code,
    which goes on with duplicates and never ends on a completion of one step); ``relax`` halves the gap until it is 0,
    then adds the next best scores. Never a duplicate: a completion of too few steps is forked fewer times.
    `after`, `forked`: in a later round, how many tokens are inherited, and the offsets forked before.
    """
    starts = np.array([start for start, _ in steps], dtype=np.int64)
    stops = np.array([stop for _, stop in steps], dtype=np.int64)
    y = zeroed(scores, think_step)
    free = (starts > after) & ~np.isin(starts, list(forked))
    eligible = free.copy()
    if think_step is not None:
        eligible[think_step:] = False
    measured = eligible & (np.arange(len(y)) < len(y) - delta)
    ranked = y[measured if quantile_over == "eligible" else starts >= after]
    none = (quantile_over, fallback) == ("steps", "first_steps") and not (ranked > 0).any()
    candidates = free.copy() if none else eligible & (y >= _threshold(ranked, quantile))
    lead = prompt_tokens if gap_from == "prompt" else 0
    taken = [(at, int(stops[starts == at].max(initial=at))) for at in forked]

    def earliest(gap: int) -> list[int]:
        return _earliest(candidates, starts, stops, points, gap, lead, taken)

    chosen = earliest(min_gap)
    if fallback == "first_steps":
        chosen = _filled(chosen, np.flatnonzero(free), points)
    else:
        gap = min_gap
        while len(chosen) < points and gap > 0:
            gap //= 2
            chosen = earliest(gap)
        best = np.flatnonzero(eligible)
        chosen = _filled(chosen, best[np.argsort(-y[best], kind="stable")], points)
    return tuple(sorted(int(starts[k]) for k in chosen))


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
    candidates: NDArray[np.bool_],
    starts: IntArray,
    stops: IntArray,
    points: int,
    gap: int,
    lead: int,
    taken: Sequence[tuple[int, int]],
) -> list[int]:
    chosen: list[int] = []
    held = list(taken)
    for k in np.flatnonzero(candidates):
        if len(chosen) == points:
            break
        start, stop = int(starts[k]), int(stops[k])
        if start + lead >= gap and all(max(start - end, begin - stop) >= gap for begin, end in held):
            chosen.append(int(k))
            held.append((start, stop))
    return chosen


def _filled(chosen: list[int], spare: IntArray, points: int) -> list[int]:
    more = [int(k) for k in spare if int(k) not in chosen]
    return [*chosen, *more[: max(0, points - len(chosen))]]
