"""One attention function, registered with transformers, that does what the caller's plan says.

The learner's tree mask and the engine's shared key-value store are plans. No model file is patched: transformers calls
the registered function with the queries, keys and values of a layer, and passes the plan through as a keyword argument.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from creditree.models.layout import NotLayeredError

ATTENTION = "creditree"
_ONE_BY_ONE: ContextVar[bool] = ContextVar("_ONE_BY_ONE", default=False)


class AttentionPlan(Protocol):
    """How one forward pass attends."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the outputs [B, H, Q, D] for queries [B, H, Q, D] and this pass's keys and values [B, H_kv, Q, D]."""
        ...


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """Return softmax(scaling Q K^T + mask) V, [B, H, Q, D], where H_kv key heads serve H query heads (GQA).

    `mask` [B or 1, 1, Q, T] is True where a query may look. The heads that share keys are folded into the query axis:
    keys and values are never repeated.
    """
    batch, heads, length, size = query.shape
    shared = heads // key.shape[1]
    if shared == 1:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    folded = query.reshape(batch, key.shape[1], shared * length, size)
    if mask is not None and length > 1:
        mask = mask.repeat(1, 1, shared, 1)
    out = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(batch, heads, length, size)


class CausalPlan:
    """Plain causal attention over the tokens of this pass alone."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return causal attention, [B, H, Q, D]."""
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)


class KeptPlan:
    """Plain causal attention in a first pass, which is kept; then branches from its end, which share a pass.

    `branches`: into how many equal parts a later pass falls. Each sees the first pass and itself.
    """

    def __init__(self) -> None:
        self.branches = 1
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs, [B, H, Q, D]."""
        count = query.shape[2]
        place = torch.arange(count, device=query.device)
        branch = place * self.branches // count
        sees = (place[:, None] >= place) & (branch[:, None] == branch)
        if layer in self._kept:
            before, old = self._kept[layer]
            key, value = torch.cat([before, key], dim=2), torch.cat([old, value], dim=2)
            sees = torch.nn.functional.pad(sees, (before.shape[2], 0), value=True)
        else:
            self._kept[layer] = key, value
        return grouped_attention(query, key, value, sees[None, None], scaling)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    plan: AttentionPlan | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    if plan is None:
        if _ONE_BY_ONE.get():
            raise NotLayeredError(
                f"{type(module).__name__} does not pass its layer's keywords on to the attention function, so its "
                "layers cannot be told what to attend to"
            )
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)  # type: ignore[arg-type]
        return out, None
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    out = plan.attend(module.layer_idx, query, key, value, scaling)  # type: ignore[arg-type]
    return out.transpose(1, 2), None


@contextmanager
def one_by_one() -> Iterator[None]:
    """Run layers with a plan: attention that is called without one raises ModelError, and never attends as it likes."""
    before = _ONE_BY_ONE.set(True)
    try:
        yield
    finally:
        _ONE_BY_ONE.reset(before)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
