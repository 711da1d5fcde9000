"""Group-relative advantage (GRPO, arXiv 2402.03300; as the baseline and S-GRPO of arXiv 2504.20834 use it)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.piece import number
from creditree.tree import FloatArray


@dataclass(frozen=True)
class GroupRelative(OutcomeCredit):
    """A_i = (R_i - mean(R)) / (std(R) + eps), the same for every token of completion i.

    R is over the tree's completions that have a reward; std is the unbiased one (n - 1), 0 for a single completion.
    With ``std=False``: A_i = R_i - mean(R). Equal rewards give exactly 0. A span that several completions share gets
    the mean of their advantages.
    """

    std: bool = number(True, "divide by the standard deviation")
    eps: float = number(1e-4, "added to the standard deviation", above=0)
    name: ClassVar[str] = "group_relative"
    paper: ClassVar[str] = "arXiv 2402.03300"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""
        if len(rewards) < 2 or np.ptp(rewards) == 0.0:
            return np.zeros(len(rewards))
        centred = rewards - rewards.mean()
        return np.asarray(centred / (rewards.std(ddof=1) + self.eps) if self.std else centred)
