"""Likelihood times advantage: the objective of T-SPMO (arXiv 2504.20834, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditree.objective.base import Objective


@dataclass(frozen=True)
class Likelihood(Objective):
    """Loss of a term: -pi(v|p) A(v|p) + kl * k3, with the raw probability pi, not its logarithm.

    Over the unique pairs of one prefix this is the all-actions policy gradient sum_v pi(v|p) A(v|p), restricted to the
    tokens that were sampled.
    """

    name: ClassVar[str] = "likelihood"
    paper: ClassVar[str] = "arXiv 2504.20834"
    weighs_by_probability: ClassVar[bool] = True

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        return -torch.exp(logprobs) * advantage
