"""The full-token mean, and what all selections that take a part of it have in common."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from creditree.fields import num_learning, trained_leaves
from creditree.piece import number
from creditree.select.base import ByCompletion, ForestField
from creditree.tree import Forest

LossMean = Literal["completions", "tokens"]


@dataclass(frozen=True)
class FullMean(ByCompletion):
    """A mean over all tokens, or a part of it that is divided by the same: a part that is the whole is `everything`.

    ``completions``: weight 1 / (G |y_i|) for every token of completion i, the mean over completions of the mean over
    tokens, and then the mean over problems. ``tokens``: weight 1 / N for every token, N the tokens of all completions
    of all problems of the optimiser step, those of advantage 0 included (arXiv 2503.14476, section 3.3; 2509.26628).

    G counts the forest's completions that are trained on: a reward, and an advantage on their own branch.
    """

    _: KW_ONLY
    loss_mean: LossMean = number(
        "completions", "mean over completions of means over tokens, or over all tokens of an update"
    )

    def share(self, group: int, length: int) -> float:
        """Return the weight of each token of a completion of `length` tokens that learn, in a group of `group`."""
        return 1.0 if self.loss_mean == "tokens" else 1.0 / (group * length)

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return the number of problems that are trained on, or of tokens, once for every completion that holds it."""
        if self.loss_mean == "completions":
            return super().normaliser(forests, advantages)
        pairs = (pair for of_forest in zip(forests, advantages, strict=True) for pair in zip(*of_forest, strict=True))
        lengths = (num_learning(tree, leaf, given) for tree, given in pairs for leaf in trained_leaves(tree, given))
        return max(1.0, float(sum(lengths)))
