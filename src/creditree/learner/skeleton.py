"""Forward a batch's skeleton: every token once, each seeing its ancestors only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.batch import Batch
from creditree.learner.logprobs import token_logprobs
from creditree.models.adapter import Adapter
from creditree.models.attention import grouped_attention


@dataclass(frozen=True, eq=False, slots=True)
class TreePlan:
    """Attend to ancestors: `mask` [1, 1, N, N] is True where token i may see token j."""

    mask: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [1, H, N, D]."""
        return grouped_attention(query, key, value, self.mask, scaling)


@dataclass(frozen=True, eq=False, slots=True)
class SkeletonLogprobs:
    """Log-probabilities of a batch's terms [M]: the policy's, with gradient, and the reference's, or None."""

    policy: Tensor
    reference: Tensor | None
    order: Tensor
    """Terms sorted by row: entry m belongs to term ``order[m]`` of the batch."""


def skeleton_logprobs(adapter: Adapter, batch: Batch, temperature: float, *, reference: bool) -> SkeletonLogprobs:
    """Forward the skeleton and return the log-probabilities of its terms at `temperature`.

    The trunk below the first adapted layer is the same for policy and reference: it runs once, without autograd.
    """
    transformer = adapter.model.transformer
    device = transformer.device
    order = np.argsort(batch.row, kind="stable")
    rows, position_of = np.unique(batch.row[order], return_inverse=True)
    ids, positions = (torch.from_numpy(array).to(device)[None] for array in (batch.token_ids, batch.position))
    plan = TreePlan(_ancestor_mask(batch, device))
    with torch.no_grad():
        trunk = transformer.embed(ids)
        rope = transformer.rope(trunk, positions)
        trunk = transformer.layers(trunk, rope, plan, 0, adapter.first_layer)
    gather = torch.from_numpy(rows).to(device)
    row = torch.from_numpy(position_of).to(device)
    token = torch.from_numpy(batch.token[order]).to(device)

    def top() -> Tensor:
        hidden = transformer.layers(trunk, rope, plan, adapter.first_layer)
        return token_logprobs(transformer, hidden[0, gather], row, token, temperature)

    policy = top()
    base = None
    if reference:
        with torch.no_grad(), adapter.off():
            base = top()
    return SkeletonLogprobs(policy, base, torch.from_numpy(order).to(device))


def _ancestor_mask(batch: Batch, device: torch.device) -> Tensor:
    enter, exit_ = (torch.from_numpy(array).to(device) for array in (batch.enter, batch.exit))
    mask = (enter[None, :] <= enter[:, None]) & (enter[:, None] < exit_[None, :])
    return mask[None, None]
