"""One attention function, registered with transformers, that does what the caller's plan says.

The learner's tree mask and the engine's shared key-value store are plans. No model file is patched: transformers calls
the registered function with the queries, keys and values of a layer, and passes the plan through as a keyword argument.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "creditree"


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
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)  # type: ignore[arg-type]
        return out, None
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    out = plan.attend(module.layer_idx, query, key, value, scaling)  # type: ignore[arg-type]
    return out.transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
