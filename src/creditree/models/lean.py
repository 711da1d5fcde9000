"""Decoder layers of the Llama family in few operations, over transformers' own weights.

A layer is two functions around its attention, each with a backward pass written by hand: what comes before (norm,
queries, keys and values in one product, rotation) and what comes after (output projection, norm, gated MLP in two
products, both residuals). For the backward pass they keep the layer's input, the state between attention and MLP, and
the MLP's gate and up values; everything else is computed again from these, elementwise. Base weights are frozen, so
there are no gradients for them; where the layer's input needs none, none is computed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

from creditree.models.attention import AttentionPlan
from creditree.models.norm import Norm
from creditree.models.projection import Lora, Projection, matrices

Turn = tuple[Tensor, Tensor]
"""Cosines and signed sines [B, Q, 1, D] of rotary positions: x -> x * cos + roll(x, D / 2) * sin."""


def turn_of(cos: Tensor, sin: Tensor) -> Turn:
    """Return the rotation for transformers' cosines and sines [B, Q, D] (`rotate_half` negates the second half)."""
    half = sin.shape[-1] // 2
    return cos.unsqueeze(-2), torch.cat([-sin[..., :half], sin[..., half:]], dim=-1).unsqueeze(-2)


@dataclass(frozen=True, eq=False, slots=True)
class Heads:
    """From hidden states to heads: norm and product; then all but the values are normed (Qwen3) and rotated.

    `turned`: how many heads are rotated, kind by kind (queries, keys);  `plain`: how many are not (values).
    """

    norm: Norm
    projection: Projection
    head_norm: Norm | None
    turned: tuple[int, ...]
    plain: int

    def forward(
        self, hidden: Tensor, turn: Turn, active: tuple[Lora, ...]
    ) -> tuple[tuple[Tensor, ...], list[Tensor | None]]:
        """Return the heads kind by kind, each [B, Q, heads, D], and what the backward pass keeps."""
        normed = self.norm(hidden)
        out, kept = self.projection.forward(normed.view(-1, normed.shape[-1]), active)
        turned = sum(self.turned)
        heads = out.view(*hidden.shape[:-1], turned + self.plain, out.shape[-1] // (turned + self.plain))
        before = heads[..., :turned, :]
        first = before if self.head_norm is None else self.head_norm(before)
        cos, sin = turn
        rotated = (first * cos).addcmul_(first.roll(first.shape[-1] // 2, -1), sin)
        kinds = rotated.split(self.turned, dim=-2)
        if self.plain:
            kinds = (*kinds, heads[..., turned:, :])
        return kinds, [None if self.head_norm is None else before, *kept]

    def back(
        self,
        grads: tuple[Tensor, ...],
        hidden: Tensor,
        turn: Turn,
        active: tuple[Lora, ...],
        kept: list[Tensor | None],
        *,
        wants_input: bool,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Return the gradients of hidden states and adapters, given those of the heads kind by kind."""
        cos, sin = turn
        before, *low = kept
        grad = torch.cat(grads, dim=-2)
        first = grad[..., : sum(self.turned), :]
        rolled = (first * sin).roll(first.shape[-1] // 2, -1)
        first.mul_(cos).add_(rolled)
        if self.head_norm is not None and before is not None:
            first.copy_(self.head_norm.back(first, before))
        flat = grad.view(-1, grad.shape[-2] * grad.shape[-1])
        # the normed states matter to the adapters' A only
        normed = self.norm(hidden).view(-1, hidden.shape[-1]) if active else hidden
        grad_normed, lora_grads = self.projection.back(flat, normed, active, low, wants_input=wants_input)
        if grad_normed is None:
            return None, lora_grads
        return self.norm.back(grad_normed.view_as(hidden), hidden).to(hidden.dtype), lora_grads


@dataclass(frozen=True, eq=False, slots=True)
class Rest:
    """From a layer's input and attention outputs to its output: both residuals, and the gated MLP between them."""

    output: Projection
    norm: Norm
    gate_up: Projection
    down: Projection

    @property
    def active(self) -> tuple[tuple[Lora, ...], tuple[Lora, ...], tuple[Lora, ...]]:
        """The adapters that are switched on now, of the three projections."""
        return self.output.active, self.gate_up.active, self.down.active

    def forward(
        self, hidden: Tensor, attended: Tensor, active: tuple[tuple[Lora, ...], ...]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the layer's output for flat inputs [n, width], and what the backward pass keeps."""
        middle, low_output = self.output.forward(attended, active[0], hidden)
        gate_up, low_gate_up = self.gate_up.forward(self.norm(middle), active[1])
        gate, up = gate_up.chunk(2, dim=-1)
        out, low_down = self.down.forward(silu(gate).mul_(up), active[2], middle)
        return out, [middle, gate_up, *low_output, *low_gate_up, *low_down]

    def back(
        self,
        grad: Tensor,
        attended: Tensor,
        active: tuple[tuple[Lora, ...], ...],
        kept: list[Tensor | None],
        *,
        wants_hidden: bool,
        wants_attended: bool,
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Return the gradients of the layer's input, of the attention outputs, and of the adapters in order."""
        middle, gate_up, *low = kept
        assert middle is not None
        assert gate_up is not None
        gate, up = gate_up.chunk(2, dim=-1)
        first, second = 2 * len(active[0]), 2 * (len(active[0]) + len(active[1]))
        wants_middle = wants_hidden or wants_attended or bool(active[0])
        opened = silu(gate)
        product = opened * up if active[2] else up  # matters to the adapters' A only
        grad_product, down = self.down.back(
            grad, product, active[2], low[second:], wants_input=wants_middle or bool(active[1])
        )
        if grad_product is None:
            return None, None, down
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
        torch.mul(grad_product, opened, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad_product.mul_(up), gate, grad_input=grad_gate)
        normed = self.norm(middle) if active[1] else middle
        grad_normed, both = self.gate_up.back(
            grad_gate_up, normed, active[1], low[first:second], wants_input=wants_middle
        )
        if grad_normed is None:
            return None, None, [*both, *down]
        grad_middle = self.norm.back(grad_normed, middle).add_(grad).to(grad.dtype)
        grad_attended, output = self.output.back(
            grad_middle, attended, active[0], low[:first], wants_input=wants_attended
        )
        return grad_middle, grad_attended, [*output, *both, *down]


class LeanLayer:
    """One decoder layer: what a module of transformers computes, on the weights that the module holds."""

    def __init__(self, index: int, scaling: float, heads: tuple[Heads, Heads, Heads], rest: Rest) -> None:
        """Take the heads in one product, and the same in two: queries apart from keys and values."""
        self.index = index
        self.scaling = scaling
        self.heads, self.queries, self.keys_values = heads
        self.rest = rest

    def __call__(self, hidden: Tensor, turn: Turn, plan: AttentionPlan, rows: Tensor | None = None) -> Tensor:
        """Return the layer's output [B, Q, width], at the positions `rows` [R] only if given."""
        return self.forward(hidden, turn, plan, self.index, rows)

    def forward(
        self, hidden: Tensor, turn: Turn, plan: AttentionPlan, index: int, rows: Tensor | None = None
    ) -> Tensor:
        """Compute the layer as number `index` of the plan: it reads nothing that tells it from its neighbours."""
        if rows is None:
            kinds = _heads(self.heads, hidden, turn)
        else:
            seen = _heads(self.keys_values, hidden, turn)
            hidden, turn = hidden.index_select(1, rows), (turn[0].index_select(1, rows), turn[1].index_select(1, rows))
            kinds = (*_heads(self.queries, hidden, turn), *seen)
        query, key, value = (kind.transpose(1, 2) for kind in kinds)
        attended = plan.attend(index, query, key, value, self.scaling).transpose(1, 2)
        return _rest(self.rest, hidden, attended.flatten(2))


def _heads(heads: Heads, hidden: Tensor, turn: Turn) -> tuple[Tensor, ...]:
    active = heads.projection.active
    if _learns(active, hidden):
        kinds: tuple[Tensor, ...] = _HeadsFunction.apply(heads, active, turn, hidden, *matrices(active))  # type: ignore[no-untyped-call]
        return kinds
    return heads.forward(hidden, turn, active)[0]


def _rest(rest: Rest, hidden: Tensor, attended: Tensor) -> Tensor:
    active = rest.active
    together = tuple(lora for part in active for lora in part)
    if _learns(together, hidden, attended):
        out: Tensor = _RestFunction.apply(rest, active, hidden, attended, *matrices(together))  # type: ignore[no-untyped-call]
        return out
    width = hidden.shape[-1]
    return rest.forward(hidden.reshape(-1, width), attended.view(-1, attended.shape[-1]), active)[0].view_as(hidden)


def _learns(active: tuple[Lora, ...], *inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*inputs, *matrices(active)))


class _HeadsFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, heads: Heads, active: tuple[Lora, ...], turn: Turn, hidden: Tensor, *adapters: Tensor
    ) -> tuple[Tensor, ...]:
        kinds, kept = heads.forward(hidden, turn, active)
        ctx.heads, ctx.active = heads, active
        ctx.save_for_backward(hidden, *turn, *kept)
        return kinds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, cos, sin, *kept = ctx.saved_tensors
        grad, lora_grads = ctx.heads.back(
            grads, hidden, (cos, sin), ctx.active, kept, wants_input=ctx.needs_input_grad[3]
        )
        return None, None, None, grad, *lora_grads


class _RestFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rest: Rest,
        active: tuple[tuple[Lora, ...], ...],
        hidden: Tensor,
        attended: Tensor,
        *adapters: Tensor,
    ) -> Tensor:
        width = hidden.shape[-1]
        out, kept = rest.forward(hidden.reshape(-1, width), attended.view(-1, attended.shape[-1]), active)
        ctx.rest, ctx.active = rest, active
        ctx.shapes = hidden.shape, attended.shape
        ctx.save_for_backward(attended if active[0] else None, *kept)
        return out.view_as(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        attended, *kept = ctx.saved_tensors
        hidden_shape, attended_shape = ctx.shapes
        flat = None if attended is None else attended.view(-1, attended_shape[-1])
        grad_hidden, grad_attended, lora_grads = ctx.rest.back(
            grad.reshape(-1, hidden_shape[-1]),
            flat,
            ctx.active,
            kept,
            wants_hidden=ctx.needs_input_grad[2],
            wants_attended=ctx.needs_input_grad[3],
        )
        if grad_hidden is not None:
            grad_hidden = grad_hidden.view(hidden_shape)
        if grad_attended is not None:
            grad_attended = grad_attended.view(attended_shape)
        return None, None, grad_hidden, grad_attended, *lora_grads
