"""Selections by a mask: the full-token mean with some of its tokens left out."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from math import ceil
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from creditree.fields import same_assigned, scatter, trained_leaves
from creditree.piece import fitted, number
from creditree.returned import Returned
from creditree.rng import Key
from creditree.select.base import Completion, ForestField
from creditree.select.everything import Everything
from creditree.select.full_mean import FullMean
from creditree.tree import Branch, FloatArray, Forest

PenaltyOn = Literal["selected", "all"]
NOTHING_DRAWN = Key.of(0)
"""The full-token mean draws nothing, so any key does."""


@dataclass(frozen=True)
class Masked(FullMean):
    """The weights of `everything`, 0 for tokens that the mask leaves out.

    `loss_mean` and the normaliser are `everything`'s: a mean over all tokens, those that do not learn included. So a
    mask that keeps all is `everything`, to the bit, and one that keeps few makes small gradients.

    `penalty_on`: a KL penalty acts on the ``selected`` tokens only, or on ``all``, with the weights of `everything`.
    """

    _: KW_ONLY
    penalty_on: PenaltyOn = number("selected", "tokens that a KL penalty acts on")

    @abstractmethod
    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return the weight of `everything` where the mask is. Raises ConfigError where that is not one a token."""
        pieces = [
            self._checked_mask(completion.tree.branches[branch])[:stop]
            for branch, stop in completion.tree.path(completion.leaf)
        ]
        return np.where(np.concatenate(pieces), self.share(completion.group, completion.learning), 0.0)

    def _checked_mask(self, branch: Branch) -> NDArray[np.bool_]:
        return Returned(self, "mask", self.mask(branch)).flags(len(branch.token_ids), "tokens of a branch")

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return the weights of `everything`, where the mask leaves the penalty alone."""
        if self.penalty_on == "selected":
            return None
        return Everything(loss_mean=self.loss_mean).weigh(forest, advantages, NOTHING_DRAWN)


@dataclass(frozen=True)
class TopShare(Masked):
    """The tokens of the highest scores, a share q of all tokens of the training step that are trained on.

    Of N tokens, each counted once, the ceil(q N) of the highest scores are kept, and all that tie with the last.
    """

    q: float = number(0.2, "share of the tokens that learns", above=0, most=1, why="it is a share of tokens")
    least: float | None = fitted(None)

    @property
    def chosen(self) -> Mapping[str, float]:
        """The least score that learns."""
        return {} if self.least is None else {"least": self.least}

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

    def ready(self, forest: Forest, advantages: ForestField) -> Self:
        """Return this selection as it weighs a forest."""
        return self if self.least is not None else self.of_step([forest], [advantages])

    def _ranked(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> list[FloatArray]:
        """Return the scores of all tokens that a completion to train on holds."""
        ranked = []
        pairs = (pair for of_forest in zip(forests, advantages, strict=True) for pair in zip(*of_forest, strict=True))
        for tree, given in pairs:
            covered = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                scatter(tree, leaf, np.ones(tree.branches[leaf].end), covered, add=False)
            for branch, is_held in zip(tree.branches, covered, strict=True):
                if is_held is not None and is_held.any():
                    ranked.append(self.scores(branch)[is_held > 0])
        return ranked
