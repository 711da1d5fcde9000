"""The clipped ratio (PPO, arXiv 1707.06347) with Clip-Higher (2503.14476) and dual clip (1912.09729), as in AttnRL."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from creditree.errors import ConfigError
from creditree.objective.base import L2Penalty, check_objective, is_recorded, k3, reference_of

LARGEST_DIFFERENCE = 20.0
"""Differences of log-probabilities are clamped to +- this before they are exponentiated (AttnRL's code)."""
LARGEST_K3 = 10.0
"""The k3 estimate of a term is clamped to +- this (AttnRL's code)."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """Loss of a term: max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)) + kl * k3; where A < 0, at most -dual_clip A.

    r = exp(clamp(log pi - log pi_old, -20, 20)), pi_old the policy that sampled the token, before any update; k3 =
    clamp(exp(d) - d - 1, -10, 10), d = clamp(log pi_reference - log pi, -20, 20). A clipped term has no gradient but
    that of k3. While pi is pi_old, the gradient is that of `policy_gradient`. (arXiv 2509.26628, section 2.1, and its
    code.) `kl_ratio`: k3 is multiplied by r, gradient included.

    On a base below float32 log pi_old is the learner's own (`Learner.recomputes_old`), as in the authors' code; else
    the engine's, which agrees with it. With several mini-batches a step, pi_old is the policy before the first.

    pi and pi_old are of the same softmax: log-probabilities are recorded at temperature 1 and at that of sampling, so
    `loss_temperature` is one of these (`check_sampled`).
    """

    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 3.0
    kl: float = 0.001
    l2: L2Penalty = field(default_factory=L2Penalty)
    loss_temperature: float = 1.0
    kl_ratio: bool = False
    name: ClassVar[str] = "clipped"
    uses_old: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_objective(self.kl, self.loss_temperature)
        if not 0.0 <= self.clip_low <= 1.0:
            raise ConfigError(
                f"method.clip_low is {self.clip_low}: a ratio is clipped at 1 - clip_low and is never negative; set a "
                "number from 0 to 1."
            )
        if self.clip_high < 0.0:
            raise ConfigError(
                f"method.clip_high is {self.clip_high}: a ratio is clipped at 1 + clip_high, above 1; set 0 or more."
            )
        if self.dual_clip <= 1.0:
            raise ConfigError(
                f"method.dual_clip is {self.dual_clip}: at 1 or below it would stop tokens of negative advantage from "
                "learning at all; set a number above 1 (a very large one switches it off)."
            )

    def check_sampled(self, temperature: float, top_p: float) -> None:
        """Raise ConfigError if no recorded log-probability is of the softmax that the loss takes.

        `temperature` and `top_p` are those of sampling.
        """
        if is_recorded(self.loss_temperature, temperature, top_p):
            return
        cut = f" and sampling.top_p {top_p}" if top_p != 1.0 else ""
        raise ConfigError(
            f"method.loss_temperature is {self.loss_temperature}, but objective 'clipped' divides by the probability "
            f"under which a token was sampled, which is recorded at temperature 1 and at sampling.temperature "
            f"{temperature}{cut}; set loss_temperature: 1, or equal to sampling.temperature with top_p: 1."
        )

    def terms(self, logprobs: Tensor, reference: Tensor | None, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        ratio, free, bounded = self._losses(logprobs, advantage, old_logprobs)
        loss = torch.maximum(free, bounded)
        loss = torch.where(advantage < 0, torch.minimum(-self.dual_clip * advantage, loss), loss)
        if self.kl == 0.0:
            return loss
        difference = (reference_of(reference) - logprobs).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
        estimate = k3(difference).clamp(-LARGEST_K3, LARGEST_K3)
        return loss + self.kl * (ratio * estimate if self.kl_ratio else estimate)

    @torch.no_grad()
    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return which terms [M] a clip keeps from learning: their loss no longer depends on the ratio."""
        ratio, free, bounded = self._losses(logprobs, advantage, old_logprobs)
        return (bounded > free) | ((advantage < 0) & (ratio > self.dual_clip))

    def _losses(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratio, and the loss with it and with it clipped."""
        ratio = torch.exp((logprobs - old_logprobs).clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE))
        return ratio, -advantage * ratio, -advantage * ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high)
