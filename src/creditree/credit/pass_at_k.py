"""Only the best completion of a group is rewarded, by how much it is better than the next (arXiv 2503.19595)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.credit.group_relative import GroupRelative
from creditree.piece import again
from creditree.tree import FloatArray


@dataclass(frozen=True)
class PassAtK(OutcomeCredit):
    """A_i = R_i - max_{j != i} R_j for the best completion i of the group, 0 for all others.

    What a group of G gains by completion i if only its best one counts: with rewards 0 and 1, a problem teaches where
    exactly one completion solves it. With `std` it is divided by the group's standard deviation (n - 1) plus `eps`, as
    in `group_relative`. Two best ones of equal reward give exactly 0.
    """

    std: bool = again(GroupRelative, "std", False)
    eps: float = again(GroupRelative, "eps", 1e-4)
    name: ClassVar[str] = "pass_at_k"
    paper: ClassVar[str] = "arXiv 2503.19595"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""
        advantages = np.zeros(len(rewards))
        if len(rewards) < 2:
            return advantages
        best = int(np.argmax(rewards))
        gain = rewards[best] - np.delete(rewards, best).max()
        advantages[best] = gain / (rewards.std(ddof=1) + self.eps) if self.std else gain
        return advantages
