"""The policy gradient in its ratio form (GRPO and S-GRPO with one update a problem; arXiv 2504.20834, section 3)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from creditree.objective.base import L2Penalty, check_objective, penalised


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """Loss of a term: -ratio A + kl * k3, with ratio = pi / stop_gradient(pi).

    The ratio is 1 in value and its gradient is that of log pi: exactly one update is made of each sample, so there is
    nothing to clip. The reference of k3 is the model without its adapter. `kl_ratio`: k3 is multiplied by the ratio,
    gradient included (`penalised`).
    """

    kl: float = 0.0
    l2: L2Penalty = field(default_factory=L2Penalty)
    loss_temperature: float = 1.0
    kl_ratio: bool = False
    name: ClassVar[str] = "policy_gradient"
    uses_old: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_objective(self.kl, self.loss_temperature)

    def terms(self, logprobs: Tensor, reference: Tensor | None, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        ratio = torch.exp(logprobs - logprobs.detach())
        return penalised(-ratio * advantage, logprobs, reference, self.kl, ratio if self.kl_ratio else None)

    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> None:
        """Return None: nothing is clipped."""
