"""The output head: logits into a buffer, and back from their gradient in the same buffer."""

from typing import Any

import torch
from torch import Tensor

from creditree.models.products import is_widened, product_back, wide_product

VOCABULARY_BLOCK = 512
"""Columns of one product on a CPU in float32: MKL repacks the head's rows, and this many stay in its caches. Ours: on
an EPYC core 192 rows of 512 numbers took 73 GFLOP/s in blocks of 8192, 81 in blocks of 2048, 87 in blocks of 512."""

FEWEST_ROWS = 4
"""Two or three rows take MKL twice as long as four (15 and 8 ms for a head of 32,768 x 512), so zeros are added."""


class Head:
    """logits = x W^T for a frozen W [vocabulary, width]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        by_mkl = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
        self._block = VOCABULARY_BLOCK if by_mkl else len(weight)
        self._is_padded = by_mkl

    @classmethod
    def read(cls, module: Any) -> "Head | None":
        """Return the head that a module computes, or None if it is more than one frozen matrix."""
        if type(module) is not torch.nn.Linear or module._forward_hooks or module._forward_pre_hooks:
            return None
        plain = getattr(module, "bias", None) is None and not module.weight.requires_grad
        return cls(module.weight) if plain else None

    def logits(self, normed: Tensor, out: Tensor) -> Tensor:
        """Write the logits [n, vocabulary] of normed states [n, width] into the first rows of `out`; return these."""
        if is_widened(normed):
            return wide_product(normed, self.weight, out=out[: len(normed)])
        count = len(normed)
        normed, out = self._padded(normed), out[: self.rows(count)]
        for start in range(0, len(self.weight), self._block):
            stop = start + self._block
            torch.mm(normed, self.weight[start:stop].t(), out=out[:, start:stop])
        return out[:count]

    def back(self, grad: Tensor) -> Tensor:
        """Return the gradient of the normed states [n, width] from that of the logits."""
        return product_back(self._padded(grad), self.weight)[: len(grad)]

    def rows(self, count: int) -> int:
        """Return how many rows `out` must have for the logits of `count` states."""
        return FEWEST_ROWS if self._is_padded and 1 < count < FEWEST_ROWS else count

    def _padded(self, states: Tensor) -> Tensor:
        more = self.rows(len(states)) - len(states)
        return torch.nn.functional.pad(states, (0, 0, 0, more)) if more else states
