"""Only what was right is learned from: rejection sampling (RAFT, arXiv 2304.06767)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.piece import number
from creditree.tree import FloatArray


@dataclass(frozen=True)
class Accepted(OutcomeCredit):
    """A_i = 1 where R_i >= `threshold`, else 0: the log-likelihood of accepted completions is raised, no other lowered.

    No baseline, so it learns from a problem that every completion solves, and nothing from one that none does.
    """

    threshold: float = number(1.0, "reward from which a completion is a success")
    name: ClassVar[str] = "accepted"
    paper: ClassVar[str] = "arXiv 2304.06767"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""
        return np.asarray(rewards >= self.threshold, dtype=np.float64)
