"""How much the steps of a completion attend to earlier ones: the map whose columns sum to their influence."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_STEPS = 200
"""A completion of more steps, prompt included, has no map: what it takes to keep and draw grows with their square."""


@dataclass(frozen=True, eq=False, slots=True)
class StepAttention:
    """a_jk of one completion (arXiv 2509.26628, section 3.1): step j attends to step k, the prompt is step 0.

    `ends` [S]: where steps 1 to S of the completion end, in its tokens;  `weights` [S + 1, S + 1]: the mean attention
    weight from a token of step j to one of step k, for j at least `delta` after k, else 0. Column k is of the layer and
    the head where its sum is largest, and this sum is the influence of step k (equations 5 and 6).
    """

    ends: NDArray[np.int64]
    delta: int
    weights: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Which pairs [S + 1, S + 1] are those that count."""
        steps = np.arange(len(self.weights))
        return np.asarray(steps[:, None] >= steps + self.delta)

    @property
    def cells(self) -> NDArray[np.float64]:
        """The weights that count, of one step j after the other: n (n + 1) / 2 for n = S + 1 - delta."""
        return np.asarray(self.weights[self.counts])

    @classmethod
    def of_cells(cls, ends: ArrayLike, cells: ArrayLike) -> "StepAttention":
        """Return the map of its `cells`, whose number tells `delta`. Raises ValueError where they make no triangle."""
        stops, weights = np.array(ends, dtype=np.int64), np.array(cells, dtype=np.float64)
        side = (math.isqrt(8 * weights.size + 1) - 1) // 2
        delta = stops.size + 1 - side
        if side * (side + 1) // 2 != weights.size or side < 1 or delta < 0:
            raise ValueError(f"{weights.size} attention weights between {stops.size} steps make no triangle")
        made = cls(stops, delta, np.zeros((stops.size + 1,) * 2))
        made.weights[made.counts] = weights
        return made
