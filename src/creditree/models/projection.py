"""Products with a layer's frozen matrices and their adapters, forward and backward, written out by hand.

A frozen matrix needs no gradient, so the backward pass of y = x W^T is one product, and of an adapter's matrices a few
skinny ones; nothing is kept for it but what the caller keeps. Every function here works without autograd.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from creditree.models.products import product, product_back
from creditree.models.quantise import QuantisedLinear

Kept = tuple[Tensor, Tensor | None]
"""Of one adapter in a forward pass: x A^T [n, rank], and the dropout mask of x, if there was one."""


class Frozen(Protocol):
    """y = x W^T + b for inputs x [n, inputs], and its gradient dx = dy W."""

    def product(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return x W^T + b, plus `residual`."""
        ...

    def product_back(self, grad: Tensor) -> Tensor:
        """Return grad W."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Dense:
    """A matrix [outputs, inputs], or several whose rows lie one after the other in memory."""

    weight: Tensor
    bias: Tensor | None

    def product(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return x W^T + b, plus `residual`."""
        return product(x, self.weight, self.bias, residual)

    def product_back(self, grad: Tensor) -> Tensor:
        """Return grad W."""
        return product_back(grad, self.weight)

    def rows(self, start: int, stop: int) -> "Dense":
        """Return the part that gives outputs [start, stop)."""
        return Dense(self.weight[start:stop], None if self.bias is None else self.bias[start:stop])


@dataclass(frozen=True, eq=False, slots=True)
class Quantised:
    """Quantised matrices side by side: dequantised one at a time, in either direction."""

    parts: tuple[QuantisedLinear, ...]

    def product(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return x W^T + b, plus `residual`."""
        products = [part.product(x) for part in self.parts]
        out = products[0] if len(products) == 1 else torch.cat(products, dim=-1)
        return out if residual is None else out.add_(residual)

    def product_back(self, grad: Tensor) -> Tensor:
        """Return grad W."""
        pieces = grad.split([part.out_features for part in self.parts], dim=-1)
        total = self.parts[0].product_back(pieces[0])
        for part, piece in zip(self.parts[1:], pieces[1:], strict=True):
            total.add_(part.product_back(piece))
        return total


@dataclass(frozen=True, eq=False, slots=True)
class Lora:
    """scaling * B A x, added to columns [start, stop) of a projection, as a module of peft holds it.

    A [rank, inputs] and B [outputs, rank] may be of a higher precision than the base; sums are then taken in theirs.
    """

    module: Any
    name: str
    a: Tensor
    b: Tensor
    dropout: float
    start: int
    stop: int

    @property
    def is_on(self) -> bool:
        """Whether peft has it switched on now."""
        return not self.module.disable_adapters

    @property
    def scaling(self) -> float:
        """What peft multiplies by: alpha / rank."""
        return float(self.module.scaling[self.name])

    def shifted(self, by: int) -> "Lora":
        """Return it for a projection whose outputs start `by` columns later."""
        return replace(self, start=self.start - by, stop=self.stop - by)

    def add(self, out: Tensor, x: Tensor) -> Kept:
        """Add to `out` [n, outputs] in place; return what the backward pass needs."""
        x, mask = x.to(self.a.dtype), None
        if self.dropout > 0 and self.module.training:
            x, mask = torch.native_dropout(x, self.dropout, True)
        low = x @ self.a.t()
        columns = out[:, self.start : self.stop]
        if out.dtype == low.dtype:
            columns.addmm_(low, self.b.t(), alpha=self.scaling)
        else:
            columns.add_(low @ self.b.t(), alpha=self.scaling)
        return low, mask

    def back(self, grad: Tensor, x: Tensor, kept: Kept, grad_x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return dA and dB for the gradient of the output; add to that of x in place, where one is wanted."""
        low, mask = kept
        x, piece = x.to(self.a.dtype), grad[:, self.start : self.stop].to(self.a.dtype)
        if mask is not None:
            x = x * mask / (1.0 - self.dropout)
        grad_low = (piece @ self.b).mul_(self.scaling)
        if grad_x is not None:
            if mask is not None:
                grad_x.add_((grad_low @ self.a).mul_(mask), alpha=1.0 / (1.0 - self.dropout))
            elif grad_x.dtype == grad_low.dtype:
                grad_x.addmm_(grad_low, self.a)
            else:
                grad_x.add_(grad_low @ self.a)
        return grad_low.t() @ x, (piece.t() @ low).mul_(self.scaling)


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """A frozen matrix and the adapters on it."""

    frozen: Frozen
    loras: tuple[Lora, ...] = ()

    @property
    def active(self) -> tuple[Lora, ...]:
        """The adapters that are switched on now."""
        return tuple([lora for lora in self.loras if lora.is_on]) if self.loras else ()

    def forward(
        self, x: Tensor, active: Sequence[Lora], residual: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the outputs [n, outputs] of x [n, inputs], plus `residual`, and what the adapters keep, in a row."""
        out = self.frozen.product(x, residual)
        return out, [tensor for lora in active for tensor in lora.add(out, x)]

    def back(
        self, grad: Tensor, x: Tensor, active: Sequence[Lora], kept: Sequence[Tensor | None], *, wants_input: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Return dx (None unless wanted) and dA, dB of the adapters, in a row."""
        grad_x = self.frozen.product_back(grad) if wants_input else None
        lora_grads: list[Tensor] = []
        for lora, low, mask in zip(active, kept[::2], kept[1::2], strict=True):
            assert low is not None
            lora_grads += lora.back(grad, x, (low, mask), grad_x)
        return grad_x, lora_grads


def matrices(active: Sequence[Lora]) -> list[Tensor]:
    """Return A and B of each adapter, in the order of `Projection.back`."""
    return [matrix for lora in active for matrix in (lora.a, lora.b)]
