"""Products of states and matrices, y = x W^T + b and dx = dy W, as fast as the processor at hand can.

Torch takes products of bfloat16 several times as long as those of float32 on a processor that has no instructions for
them, as most laptops' (`benchmarks/wide_products.py`). There they are taken in float32, blocks of the matrix being
widened one at a time while they are multiplied: sums are exact to float32, and each result is rounded once.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from creditree.processor import multiplies_bfloat16

WIDE = torch.float32
FEWEST_ROWS = 8
"""Fewer rows read a matrix faster than it is widened. Ours: on an AVX-512 core eight take as long in either way."""
OUTPUTS = 1024
"""Rows of a matrix that are widened at a time: few enough that they stay in a cache, many enough for MKL."""
ROWS = 1024
"""States that are widened at a time: widening the matrix for each is 3 % of their products."""


def is_widened(states: Tensor) -> bool:
    """Return whether products of states [..., inputs] are taken in float32."""
    return is_slow(states) and states.numel() >= FEWEST_ROWS * states.shape[-1]


def is_slow(tensor: Tensor) -> bool:
    """Return whether torch's own products of a tensor are slow here."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and not multiplies_bfloat16()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
    """Return x W^T + b [..., outputs], plus `residual`, for x [..., inputs], without autograd.

    `weight` [outputs, inputs] may be of another type than x, as codes are: it is then converted.
    """
    if is_widened(x):
        return wide_product(x, weight, bias, residual)
    weight = weight.to(x.dtype)
    if residual is None:
        return linear(x, weight, bias)
    out = torch.addmm(residual, x, weight.t())  # one rounding
    return out if bias is None else out.add_(bias)


def product_back(grad: Tensor, weight: Tensor) -> Tensor:
    """Return grad W [..., inputs], for grad [..., outputs], without autograd."""
    if not is_widened(grad):
        return grad @ weight.to(grad.dtype)
    into = grad.new_empty(*grad.shape[:-1], weight.shape[1])
    flat, flat_into = grad.reshape(-1, grad.shape[-1]), into.view(-1, weight.shape[1])
    for rows in _parts(len(flat), ROWS):
        total = torch.zeros_like(flat_into[rows], dtype=WIDE)
        for outputs in _parts(len(weight), OUTPUTS):
            torch.addmm(total, flat[rows, outputs].to(WIDE), weight[outputs].to(WIDE), out=total)
        flat_into[rows] = total
    return into


def wide_product(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Return the same, taken in float32 and rounded once to the type of x; written into `out`, if given."""
    out = x.new_empty(*x.shape[:-1], len(weight)) if out is None else out
    flat, flat_out = x.reshape(-1, x.shape[-1]), out.view(-1, len(weight))
    for rows in _parts(len(flat), ROWS):
        states = flat[rows].to(WIDE)
        for outputs in _parts(len(weight), OUTPUTS):
            made = torch.mm(states, weight[outputs].to(WIDE).t())
            if bias is not None:
                made.add_(bias[outputs])
            if residual is not None:
                made.add_(residual.reshape(-1, len(weight))[rows, outputs])
            flat_out[rows, outputs] = made
    return out


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


def multiply_wide(model: torch.nn.Module) -> None:
    """Let the frozen linear layers of a model of transformers multiply so as well, in place, where it is faster here.

    Their gradients go to what they are given alone.
    """
    linears: list[Any] = [module for module in model.modules() if type(module) in (torch.nn.Linear, Conv1D)]
    for module in linears:
        if is_slow(module.weight):
            module.forward = partial(_multiplied, module)


def _multiplied(module: Any, states: Tensor) -> Tensor:
    weight = module.weight.t() if isinstance(module, Conv1D) else module.weight
    if not is_widened(states) or weight.requires_grad:
        return linear(states, weight, module.bias)
    made: Tensor = _WideProduct.apply(states, weight, module.bias)  # type: ignore[no-untyped-call]
    return made


class _WideProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return wide_product(states, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return product_back(grad, ctx.weight), None, None
