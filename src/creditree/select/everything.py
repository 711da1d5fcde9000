"""Every token learns: the full-token baseline (GRPO; arXiv 2504.20834 section 3), or the token-mean (2503.14476)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, get_args

import numpy as np

from creditree.errors import ConfigError, did_you_mean
from creditree.fields import num_trained, same_assigned, scatter, trained_leaves
from creditree.rng import Key
from creditree.select.selection import NOTHING_CHOSEN, ForestField
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import Forest

LossMean = Literal["completions", "tokens"]


@dataclass(frozen=True, slots=True)
class Everything:
    """Every token of every completion that is trained on, in one of two means.

    ``completions``: weight 1 / (G |y_i|) for every token of completion i, the mean over completions of the mean over
    tokens, and then the mean over problems. ``tokens``: weight 1 / N for every token, N the tokens of all completions
    of all problems of the optimiser step, those of advantage 0 included (arXiv 2503.14476, section 3.3; 2509.26628).

    G counts the forest's completions that are trained on: a reward, and an advantage on their own branch. A token that
    several of them share has the sum of their weights: one row per leaf, as long as its advantage is the same for all
    of them.
    """

    loss_mean: LossMean = "completions"
    name: ClassVar[str] = "everything"
    unique_pairs: ClassVar[bool] = False
    signals: ClassVar[Signals] = NO_SIGNALS
    chosen: ClassVar[Mapping[str, float]] = NOTHING_CHOSEN

    def __post_init__(self) -> None:
        if self.loss_mean not in get_args(LossMean):
            hint = did_you_mean(str(self.loss_mean), get_args(LossMean))
            raise ConfigError(f"method.loss_mean is '{self.loss_mean}', which is nothing to average over.{hint}")

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection: it looks at nothing."""
        return self

    def share(self, group: int, length: int) -> float:
        """Return the weight of each token of a completion of `length` tokens, in a group of `group`."""
        return 1.0 if self.loss_mean == "tokens" else 1.0 / (group * length)

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        group = num_trained(forest, advantages)
        weights = []
        for tree, given in zip(forest, advantages, strict=True):
            field = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                length = tree.branches[leaf].end
                scatter(tree, leaf, np.full(length, self.share(group, length)), field, add=True)
            weights.append(tuple(field))
        return tuple(weights)

    def penalised(self, forest: Forest, advantages: ForestField) -> None:
        """Return None: a KL penalty has the weights of the loss."""

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return the number of problems, or that of tokens, each counted once for every completion that holds it."""
        if self.loss_mean == "completions":
            return float(len(forests))
        pairs = (pair for one in zip(forests, advantages, strict=True) for pair in zip(*one, strict=True))
        lengths = (tree.branches[leaf].end for tree, given in pairs for leaf in trained_leaves(tree, given))
        return max(1.0, float(sum(lengths)))
