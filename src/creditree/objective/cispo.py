"""A clipped weight on log-likelihood, so that no token is kept from learning (CISPO, MiniMax-M1, arXiv 2506.13585)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditree.objective.clipped import LARGEST_DIFFERENCE, Clipped
from creditree.objective.ratio import RatioObjective
from creditree.piece import again


@dataclass(frozen=True)
class Cispo(RatioObjective):
    """Loss of a term: -stop_gradient(clip(r, 1 - clip_low, 1 + clip_high)) A log pi, r = pi / pi_old.

    The importance weight is clipped, not the update: a token whose ratio is out of bounds still learns, with the
    bound as its weight. While pi is pi_old, the gradient is that of `policy_gradient`. The paper has no lower bound
    (clip_low 1: a ratio is never negative) and tunes the upper one; that it is 4 here is ours.
    """

    clip_low: float = again(Clipped, "clip_low", 1.0)
    clip_high: float = again(Clipped, "clip_high", 4.0)
    name: ClassVar[str] = "cispo"
    paper: ClassVar[str] = "arXiv 2506.13585"
    uses_old: ClassVar[bool] = True

    def ratio(self, logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return r [M]."""
        return torch.exp((logprobs - old_logprobs).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE))

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        weight = self.ratio(logprobs, old_logprobs).clamp(1.0 - self.clip_low, 1.0 + self.clip_high).detach()
        return -weight * advantage * logprobs
