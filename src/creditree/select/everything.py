"""Every token learns: the full-token baseline (GRPO; arXiv 2504.20834 section 3)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.fields import TokenField, num_rewarded, scatter, unassigned
from creditree.rng import Key
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class Everything:
    """Weight 1 / (G |y_i|) for every token of completion i: the mean over completions of the mean over tokens.

    G counts the forest's completions that have a reward. A token that several completions share has the sum of their
    weights: one row per leaf, as long as its advantage is the same for all of them.
    """

    name: ClassVar[str] = "everything"
    unique_pairs: ClassVar[bool] = False

    def weigh(self, forest: Forest, advantages: tuple[TokenField, ...], key: Key) -> tuple[TokenField, ...]:
        """Return the weights of every tree of `forest`."""
        group = num_rewarded(forest)
        weights = []
        for tree in forest:
            field = unassigned(tree)
            for leaf in tree.rewarded:
                length = tree.branches[leaf].end
                scatter(tree, leaf, np.full(length, 1.0 / (group * length)), field, add=True)
            weights.append(tuple(field))
        return tuple(weights)
