"""Likelihood times advantage: the objective of T-SPMO (arXiv 2504.20834, section 3.2)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from creditree.objective.base import L2Penalty, check_objective, penalised


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Loss of a term: -pi(v|p) A(v|p) + kl * k3, with the raw probability pi, not its logarithm.

    Over the unique pairs of one prefix this is the all-actions policy gradient sum_v pi(v|p) A(v|p), restricted to the
    tokens that were sampled.
    """

    kl: float = 0.0
    l2: L2Penalty = field(default_factory=L2Penalty)
    loss_temperature: float = 1.0
    name: ClassVar[str] = "likelihood"
    uses_old: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_objective(self.kl, self.loss_temperature)

    def terms(self, logprobs: Tensor, reference: Tensor | None, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        return penalised(-torch.exp(logprobs) * advantage, logprobs, reference, self.kl)

    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> None:
        """Return None: nothing is clipped."""
