"""The median as the baseline of a group, and the completion that it is does not learn (arXiv 2601.22582)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.credit.base import OutcomeCredit
from creditree.credit.group_relative import GroupRelative
from creditree.fields import TokenField
from creditree.piece import again
from creditree.tree import FloatArray, RolloutTree


@dataclass(frozen=True)
class McGrpo(OutcomeCredit):
    """A_i = (R_i - median(R)) / (std(R) + eps); the middle completion of an odd group is left out of the loss.

    In small groups one outlier moves the mean, and with it the sign of others' advantages; the median stays. Of an odd
    group G + 1 the median is the reward of a completion (the first of such): it has advantage 0, and is not counted
    among the G that the loss is a mean over. That a completion which others were forked from is kept, and that the
    standard deviation (n - 1) about the mean is divided by, is ours. Equal rewards give exactly 0.
    """

    std: bool = again(GroupRelative, "std", True)
    eps: float = again(GroupRelative, "eps", 1e-4)
    name: ClassVar[str] = "mc_grpo"
    paper: ClassVar[str] = "arXiv 2601.22582"

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""
        if len(rewards) < 2 or np.ptp(rewards) == 0.0:
            return np.zeros(len(rewards))
        centred = rewards - np.median(rewards)
        return np.asarray(centred / (rewards.std(ddof=1) + self.eps) if self.std else centred)

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`; None for the middle completion of an odd group."""
        field = super().assign(tree)
        leaves = tree.rewarded
        if len(leaves) % 2 == 0 or len(leaves) < 3:
            return field
        rewards = tree.rewards(leaves)
        middle = leaves[int(np.flatnonzero(rewards == np.median(rewards))[0])]
        if middle in {branch.parent for branch in tree.branches}:
            return field
        return tuple(None if index == middle else values for index, values in enumerate(field))
