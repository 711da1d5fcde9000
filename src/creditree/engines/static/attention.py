"""Attention of one new token a row: to the context that its copy's rows share, and to the row's own tokens."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from creditree.engines.static.grid import Grid


@dataclass(frozen=True, eq=False, slots=True)
class SplitPlan:
    """softmax over the scores of both parts together, softmax(scaling q [K_context; K_own]^T + bias) [V; V].

    `context_keys`, `context_values` [layers, C, H_kv, P, D];  `keys`, `values` [layers, C, H_kv, R, T, D], written at
    `column` [1] before they are read up to `stage`;  `bias` [C, 1, 1, P + stage], 0 or -inf, at least float32: so are
    the scores. Query heads that share keys are folded, so nothing is repeated: a context is read once for R rows.
    """

    grid: Grid
    stage: int
    column: Tensor
    context_keys: Tensor
    context_values: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor
    wide: bool
    """Whether products of low precision can be had in float32, as they were summed."""

    def alone(self, layer: int) -> "SplitPlan":
        """Return the plan of one layer, which is number 0 of it: plans of all layers are then alike."""
        part = slice(layer, layer + 1)
        return replace(
            self,
            context_keys=self.context_keys[part],
            context_values=self.context_values[part],
            keys=self.keys[part],
            values=self.values[part],
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [B, H, 1, D] for queries of that shape and keys and values [B, H_kv, 1, D]."""
        copies, each, width = self.grid.copies, self.grid.each, self.grid.context
        heads, size = key.shape[1], query.shape[3]
        shared = query.shape[1] // heads
        for cache, new in ((self.keys, key), (self.values, value)):
            cache[layer].index_copy_(3, self.column, new.reshape(copies, each, heads, 1, size).transpose(1, 2))
        together, apart = (copies * heads, each * shared, size), (copies * heads * each, shared, size)
        folded = query.reshape(copies, each, heads, shared, size).transpose(1, 2).contiguous()
        context_keys, context_values = (
            cache[layer].view(copies * heads, width, size) for cache in (self.context_keys, self.context_values)
        )
        own_keys, own_values = (
            cache[layer].view(copies * heads * each, -1, size)[:, : self.stage] for cache in (self.keys, self.values)
        )
        to_context = self._scores(folded.view(together), context_keys)
        to_own = self._scores(folded.view(apart), own_keys).view(copies * heads, each * shared, self.stage)
        scores = torch.cat([to_context, to_own], dim=-1).view(copies, heads, each * shared, -1)
        weights = torch.softmax(torch.add(self.bias, scores, alpha=scaling), dim=-1).to(value.dtype)
        weights = weights.view(copies * heads, each * shared, -1)
        out = torch.bmm(weights[..., :width], context_values)
        own_weights = weights.view(copies * heads * each, shared, -1)[..., width:]
        out.view(apart).baddbmm_(own_weights, own_values)
        return out.view(copies, heads, each, shared * size).transpose(1, 2).reshape(query.shape)

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        if self.wide:
            return torch.bmm(query, key.transpose(1, 2), out_dtype=self.bias.dtype)
        return torch.bmm(query, key.transpose(1, 2))


def has_wide_products(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether products of `dtype` can be had in float32 on `device`: tried on a small one."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    ones = torch.ones(1, 8, 8, dtype=dtype, device=device)
    try:
        return bool((torch.bmm(ones, ones, out_dtype=torch.float32) == 8).all())
    except (RuntimeError, TypeError, NotImplementedError):
        return False
