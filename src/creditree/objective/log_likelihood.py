"""Log-likelihood times advantage: what supervised training maximises, token by token."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditree.objective.base import Objective


@dataclass(frozen=True)
class LogLikelihood(Objective):
    """Loss of a term: -A log pi(v|p) + kl * k3. Its gradient is that of `policy_gradient`; its value is a likelihood.

    With the advantages of `accepted` it is the negative log-likelihood of the completions that were right.
    """

    name: ClassVar[str] = "log_likelihood"
    paper: ClassVar[str] = "arXiv 2304.06767"

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        return -advantage * logprobs
