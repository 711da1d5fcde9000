"""The policy gradient in its ratio form (GRPO and S-GRPO with one update a problem; arXiv 2504.20834, section 3)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditree.objective.ratio import RatioObjective


@dataclass(frozen=True)
class PolicyGradient(RatioObjective):
    """Loss of a term: -ratio A + kl * k3, with ratio = pi / stop_gradient(pi).

    The ratio is 1 in value and its gradient is that of log pi: exactly one update is made of each sample, so there is
    nothing to clip. The reference of k3 is the model without its adapter. `kl_ratio`: k3 is multiplied by the ratio,
    gradient included.
    """

    name: ClassVar[str] = "policy_gradient"
    paper: ClassVar[str] = "arXiv 2402.03300, one update a sample"

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        return -self.ratio(logprobs, old_logprobs) * advantage
