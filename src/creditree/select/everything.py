"""Every token learns: the full-token baseline (GRPO; arXiv 2504.20834 section 3), or the token-mean (2503.14476)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from creditree.errors import ConfigError, did_you_mean
from creditree.fields import TokenField, num_trained, same_assigned, scatter, trained_leaves
from creditree.rng import Key
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

    def __post_init__(self) -> None:
        if self.loss_mean not in get_args(LossMean):
            hint = did_you_mean(str(self.loss_mean), get_args(LossMean))
            raise ConfigError(f"method.loss_mean is '{self.loss_mean}', which is nothing to average over.{hint}")

    def weigh(self, forest: Forest, advantages: tuple[TokenField, ...], key: Key) -> tuple[TokenField, ...]:
        """Return the weights of every tree of `forest`."""
        group = num_trained(forest, advantages)
        weights = []
        for tree, given in zip(forest, advantages, strict=True):
            field = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                length = tree.branches[leaf].end
                share = 1.0 if self.loss_mean == "tokens" else 1.0 / (group * length)
                scatter(tree, leaf, np.full(length, share), field, add=True)
            weights.append(tuple(field))
        return tuple(weights)

    def normaliser(self, weights: Sequence[tuple[TokenField, ...]]) -> float:
        """Return the number of problems, or that of tokens, each counted once for every completion that holds it."""
        if self.loss_mean == "completions":
            return float(len(weights))
        fields = (field for forest in weights for tree in forest for field in tree if field is not None)
        return max(1.0, sum(float(field.sum()) for field in fields))
