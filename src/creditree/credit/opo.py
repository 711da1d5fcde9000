"""A baseline weighted by length (OPO, arXiv 2505.23585)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.tree import FloatArray


@dataclass(frozen=True)
class Opo(OutcomeCredit):
    """A_i = R_i - b with b = sum_j L_j R_j / sum_j L_j, L_j the tokens of completion j.

    The baseline of least variance of the policy gradient is the mean of rewards weighted by |grad log pi(y_j)|^2; where
    the gradients of single tokens are about orthogonal and of one size, that square grows with the length. With equal
    lengths it is `group_relative` with ``std: false``. Equal rewards give exactly 0.
    """

    name: ClassVar[str] = "opo"
    paper: ClassVar[str] = "arXiv 2505.23585"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of rewards [G] of completions that are equally long."""
        return self.of_completions(rewards, np.ones(len(rewards)))

    def of_completions(self, rewards: FloatArray, lengths: FloatArray) -> FloatArray:
        """Return A [G] of rewards [G] and lengths [G]."""
        if len(rewards) < 2 or np.ptp(rewards) == 0.0:
            return np.zeros(len(rewards))
        return np.asarray(rewards - (lengths * rewards).sum() / lengths.sum())
