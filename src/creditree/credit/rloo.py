"""Leave-one-out advantage (RLOO, arXiv 2402.14740)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.tree import FloatArray


@dataclass(frozen=True)
class Rloo(OutcomeCredit):
    """A_i = R_i - mean of the rewards of the other completions: a baseline that the completion itself has no part in.

    That is G / (G - 1) (R_i - mean(R)), `group_relative` without its division, times a constant. One completion alone
    has nothing to compare with: 0.
    """

    name: ClassVar[str] = "rloo"
    paper: ClassVar[str] = "arXiv 2402.14740"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""
        size = len(rewards)
        if size < 2 or np.ptp(rewards) == 0.0:
            return np.zeros(size)
        return np.asarray(rewards - (rewards.sum() - rewards) / (size - 1))
