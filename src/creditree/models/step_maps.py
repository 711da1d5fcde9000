"""Attention from step to step of a few sequences, gathered on the way of a pass that sums columns for all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from creditree.tree import FloatArray


class StepMaps:
    """a_jk = mean over the tokens i of step j and t of step k of A[i, t], for j >= k + delta, of n of N sequences.

    `rows` [n]: which sequences;  `step` [N, T] and `weight` [N, T]: the step that holds each token, and 1 / |step|.
    `best` [n, K, K]: column k is that of the layer and head, among those that count, whose sum is largest: the sum is
    the influence of step k (arXiv 2509.26628, equations 5 and 6). A layer takes [n, H, K, K] of memory meanwhile.
    """

    def __init__(self, rows: Sequence[int], steps: int, step: Tensor, weight: Tensor, delta: int) -> None:
        self._rows = torch.tensor(rows, device=step.device)
        index = torch.arange(steps, device=step.device)
        self._mean = (step[self._rows, :, None] == index) * weight[self._rows, :, None]
        self._counts = index[:, None] >= index + delta
        shape = len(rows), steps
        self.best = torch.zeros(*shape, steps, dtype=weight.dtype, device=step.device)
        self._most = torch.full(shape, -1.0, dtype=weight.dtype, device=step.device)
        self._layer: Tensor | None = None

    def add(self, share: Tensor, start: int) -> None:
        """Add the queries from `start` on with softmaxes `share` [N, H, Q, width] of a layer."""
        queries, width = share.shape[2:]
        to_steps = torch.matmul(share[self._rows], self._mean[:, None, :width])
        of_steps = torch.matmul(self._mean[:, None, start : start + queries].transpose(-1, -2), to_steps)
        self._layer = of_steps if self._layer is None else self._layer + of_steps

    def close(self, heads: Sequence[int] | None) -> None:
        """End a layer, of which `heads` count (None: all)."""
        assert self._layer is not None
        layer = self._layer if heads is None else self._layer[:, list(heads)]
        layer = torch.where(self._counts, layer, 0.0)
        most, head = layer.sum(dim=2).max(dim=1)
        columns = layer.gather(1, head[:, None, None].expand(-1, 1, layer.shape[2], -1))[:, 0]
        better = most > self._most
        self.best = torch.where(better[:, None], columns, self.best)
        self._most = torch.where(better, most, self._most)
        self._layer = None

    def maps(self) -> list[FloatArray]:
        """Return a [K, K] of each of the n sequences."""
        return list(self.best.double().cpu().numpy())
