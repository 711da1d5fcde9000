"""The clipped ratio (PPO, arXiv 1707.06347) with Clip-Higher (2503.14476) and dual clip (1912.09729), as in AttnRL."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditree.objective.base import Objective, estimate_kl
from creditree.objective.ratio import RatioObjective
from creditree.piece import again, number

LARGEST_DIFFERENCE = 20.0
"""Differences of log-probabilities are clamped to +- this before they are exponentiated (AttnRL's code)."""
LARGEST_K3 = 10.0
"""The estimate of the divergence of a term is clamped to +- this (AttnRL's code)."""


@dataclass(frozen=True)
class Clipped(RatioObjective):
    """Loss of a term: max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)) + kl * k3; where A < 0, at most -dual_clip A.

    r = exp(clamp(log pi - log pi_old, -20, 20)), pi_old the policy that sampled the token, before any update; k3 =
    clamp(exp(d) - d - 1, -10, 10), d = clamp(log pi_reference - log pi, -20, 20). A clipped term has no gradient but
    that of k3. While pi is pi_old, the gradient is that of `policy_gradient`. (arXiv 2509.26628, section 2.1, and its
    code.) `kl_ratio`: k3 is multiplied by r, gradient included.

    On a base below float32 log pi_old is the learner's own (`Learner.recomputes_old`), as in the authors' code; else
    the engine's, which agrees with it. With several mini-batches a step, pi_old is the policy before the first.

    pi and pi_old are of the same softmax: log-probabilities are recorded at temperature 1 and at that of sampling, so
    `loss_temperature` is one of these (`check`).
    """

    clip_low: float = number(
        0.2,
        "the ratio of new and old policy counts down to 1 - this",
        least=0,
        most=1,
        why="a ratio is clipped at 1 - clip_low and is never negative",
    )
    clip_high: float = number(
        0.28, "the ratio counts up to 1 + this", least=0, why="a ratio is clipped at 1 + clip_high, above 1"
    )
    dual_clip: float = number(
        3.0,
        "the ratio counts up to this where the advantage is negative; a very large one switches it off",
        above=1,
        why="at 1 or below it would stop tokens of negative advantage from learning at all",
    )
    kl: float = again(Objective, "kl", 0.001)
    name: ClassVar[str] = "clipped"
    paper: ClassVar[str] = "arXiv 1707.06347; 2503.14476; 1912.09729"
    uses_old: ClassVar[bool] = True

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        _, free, bounded = self._losses(logprobs, advantage, old_logprobs)
        loss = torch.maximum(free, bounded)
        return torch.where(advantage < 0, torch.minimum(-self.dual_clip * advantage, loss), loss)

    def ratio(self, logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return r [M]."""
        return torch.exp((logprobs - old_logprobs).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE))

    def divergence(self, logprobs: Tensor, reference: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the estimate within its bounds, times r where that is asked for."""
        difference = (reference - logprobs).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
        estimate = estimate_kl(self.kl_estimator, difference).clamp(-LARGEST_K3, LARGEST_K3)
        return self.ratio(logprobs, old_logprobs) * estimate if self.kl_ratio else estimate

    @torch.no_grad()
    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return which terms [M] a clip keeps from learning: their loss no longer depends on the ratio."""
        ratio, free, bounded = self._losses(logprobs, advantage, old_logprobs)
        return (bounded > free) | ((advantage < 0) & (ratio > self.dual_clip))

    def _losses(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratio, and the loss with it and with it clipped."""
        ratio = self.ratio(logprobs, old_logprobs)
        return ratio, -advantage * ratio, -advantage * ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high)
