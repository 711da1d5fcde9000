"""Selections by a mask: the full-token mean with some of its tokens left out."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from creditree.errors import ConfigError, check_choice
from creditree.fields import same_assigned, scatter, trained_leaves
from creditree.rng import Key
from creditree.select.full_mean import PartOfMean
from creditree.select.selection import NOTHING_CHOSEN, ForestField
from creditree.tree import Branch, FloatArray, Forest

PenaltyOn = Literal["selected", "all"]
NOTHING_DRAWN = Key.of(0)
"""The full-token mean draws nothing, so any key does."""


@dataclass(frozen=True, slots=True)
class Masked(PartOfMean):
    """The weights of `everything`, 0 for tokens that the mask leaves out.

    `loss_mean` and the normaliser are `everything`'s: a mean over all tokens, those that do not learn included. So a
    mask that keeps all is `everything`, to the bit, and one that keeps few makes small gradients.

    `penalty_on`: a KL penalty acts on the ``selected`` tokens only, or on ``all``, with the weights of `everything`.
    """

    penalty_on: PenaltyOn = field(default="selected", kw_only=True)

    def __post_init__(self) -> None:
        PartOfMean.__post_init__(self)
        check_choice("method.penalty_on", self.penalty_on, get_args(PenaltyOn))

    @abstractmethod
    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        full = self.full.weigh(forest, advantages, key)
        return tuple(
            tuple(
                None if weights is None else np.where(self.mask(branch), weights, 0.0)
                for branch, weights in zip(tree.branches, held, strict=True)
            )
            for tree, held in zip(forest, full, strict=True)
        )

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return the weights of `everything`, where the mask leaves the penalty alone."""
        return self.full.weigh(forest, advantages, NOTHING_DRAWN) if self.penalty_on == "all" else None


@dataclass(frozen=True, slots=True)
class TopShare(Masked):
    """The tokens of the highest scores, a share q of all tokens of the training step that are trained on.

    Of N tokens, each counted once, the ceil(q N) of the highest scores are kept, and all that tie with the last.
    """

    q: float = 0.2
    least: float | None = field(default=None, kw_only=True, repr=False, metadata={"fitted": True})

    def __post_init__(self) -> None:
        Masked.__post_init__(self)
        if not 0.0 < self.q <= 1.0:
            raise ConfigError(f"method.q is {self.q}: it is a share of tokens, above 0 and at most 1.")

    @property
    def chosen(self) -> Mapping[str, float]:
        """The least score that learns."""
        return NOTHING_CHOSEN if self.least is None else {"least": self.least}

    @abstractmethod
    def scores(self, branch: Branch) -> FloatArray:
        """Return what the tokens of a branch are ranked by. Raises ValueError where it was not measured."""

    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""
        return np.asarray(self.scores(branch) >= (-np.inf if self.least is None else self.least))

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection with the least score that learns."""
        ranked = np.concatenate([np.zeros(0), *self._ranked(forests, advantages)])
        if not len(ranked):
            return self
        kept = max(1, ceil(self.q * len(ranked) - 1e-9))
        return replace(self, least=float(np.partition(ranked, len(ranked) - kept)[len(ranked) - kept]))

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        fitted = self if self.least is not None else self.of_step([forest], [advantages])
        return Masked.weigh(fitted, forest, advantages, key)

    def _ranked(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> list[FloatArray]:
        """Return the scores of all tokens that a completion to train on holds."""
        found = []
        pairs = (pair for one in zip(forests, advantages, strict=True) for pair in zip(*one, strict=True))
        for tree, given in pairs:
            held = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                scatter(tree, leaf, np.ones(tree.branches[leaf].end), held, add=False)
            for branch, is_held in zip(tree.branches, held, strict=True):
                if is_held is not None and is_held.any():
                    found.append(self.scores(branch)[is_held > 0])
        return found
