"""Objectives in the ratio of new and old policy: its penalty may be weighted by the ratio too."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from creditree.objective.base import Objective
from creditree.piece import number


@dataclass(frozen=True)
class RatioObjective(Objective):
    """An objective that has a ratio r = pi / pi_old [M]; where pi is pi_old, r is 1 and its gradient that of log pi.

    `kl_ratio`: the KL estimate is multiplied by r, gradient included. k3 alone has the right value, but the gradient of
    another divergence: in expectation that of KL(reference || policy) at the sampled tokens. With r it is that of
    KL(policy || reference).
    """

    _: KW_ONLY
    kl_ratio: bool = number(False, "KL estimate times the ratio of new and old policy, gradient included")

    def ratio(self, logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return r [M]: pi / stop_gradient(pi), unless an objective looks at the old policy."""
        return torch.exp(logprobs - logprobs.detach())

    def divergence(self, logprobs: Tensor, reference: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the estimate of KL(policy || reference), times r where that is asked for."""
        estimate = super().divergence(logprobs, reference, old_logprobs)
        return self.ratio(logprobs, old_logprobs) * estimate if self.kl_ratio else estimate
