"""Advantages normalised over the whole step, not problem by problem (REINFORCE++, arXiv 2501.03262)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from creditree.credit.base import Credit, spread
from creditree.credit.group_relative import GroupRelative
from creditree.fields import TokenField
from creditree.piece import again, number
from creditree.tree import FloatArray, Forest, RolloutTree

Baseline = Literal["step", "group"]


@dataclass(frozen=True)
class ReinforcePP(Credit):
    """A_i = (x_i - mean(x)) / (std(x) + eps) over all completions of a training step, x_i = R_i.

    `baseline`: ``step``, as above; with ``group``, x_i = R_i - the mean reward of its own tree ("REINFORCE++ w/
    baseline"), whose differences alone are divided by the deviation of the whole step. std is the unbiased one (n - 1).
    The mean is over completions (that learn), where the paper's is over their tokens; that is ours. Problems of a step
    without any difference get exactly 0 with ``group``, and what all completions have in common does with ``step``.
    """

    baseline: Baseline = number("step", "rewards are compared with the mean of the step, or of their own group")
    eps: float = again(GroupRelative, "eps", 1e-4)
    per_completion: ClassVar[bool] = True
    name: ClassVar[str] = "reinforce_pp"
    paper: ClassVar[str] = "arXiv 2501.03262"

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree` as if it were the whole step."""
        return self.of_step([(tree,)])[0][0]

    def of_step(self, forests: Sequence[Forest]) -> list[tuple[TokenField, ...]]:
        """Return the advantages of all trees of a training step."""
        compared = [[self._compared(tree) for tree in forest] for forest in forests]
        pooled = np.concatenate([np.zeros(0), *_of_those_that_learn(forests, compared)])
        flat = len(pooled) < 2 or np.ptp(pooled) == 0.0
        mean, scale = (0.0, np.inf) if flat else (pooled.mean(), pooled.std(ddof=1) + self.eps)
        return [
            tuple(spread(tree, (values - mean) / scale) for tree, values in zip(forest, own, strict=True))
            for forest, own in zip(forests, compared, strict=True)
        ]

    def _compared(self, tree: RolloutTree) -> FloatArray:
        rewards = tree.rewards(tree.rewarded)
        if self.baseline == "step" or not len(rewards):
            return rewards
        return np.zeros(len(rewards)) if np.ptp(rewards) == 0.0 else rewards - rewards.mean()


def _of_those_that_learn(forests: Sequence[Forest], compared: Sequence[Sequence[FloatArray]]) -> list[FloatArray]:
    """Return of each tree the numbers of its rewarded completions that learn."""
    pairs = (pair for of_forest in zip(forests, compared, strict=True) for pair in zip(*of_forest, strict=True))
    return [values[np.isin(tree.rewarded, tree.learning)] for tree, values in pairs]
