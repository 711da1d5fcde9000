"""What a credit is: a function from a judged tree to one advantage for each sampled token. It never samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.fields import TokenField, unassigned
from creditree.piece import Piece
from creditree.returned import Returned
from creditree.tree import FloatArray, Forest, RolloutTree


@dataclass(frozen=True)
class Credit(Piece, ABC):
    """What each token was worth.

    `per_pair`: whether the advantage depends on (prefix, next token) alone: equal in every completion that holds it.
    `per_completion`: whether all tokens of a completion have the completion's one advantage, but those that several
    share; these learn from the mean, weighted as the completions are (`Selection.blended`).
    `needs_forks`: why a tree without forks teaches nothing, and what to set instead; None where it does.
    """

    axis: ClassVar[str] = "credit"
    per_completion: ClassVar[bool] = False

    @property
    def per_pair(self) -> bool:
        """Whether equal pairs of prefix and next token have equal advantages: not, unless a credit says so."""
        return False

    @property
    def needs_forks(self) -> str | None:
        """Why it takes forks, cause and cure; None, unless a credit says so."""
        return None

    @abstractmethod
    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`; None for branches without a reward."""

    def of_step(self, forests: Sequence[Forest]) -> list[tuple[TokenField, ...]]:
        """Return the advantages of all trees of a training step: each tree's own, unless a credit looks further."""
        return [tuple(Returned(self, "assign", self.assign(tree)).field(tree) for tree in forest) for forest in forests]


@dataclass(frozen=True)
class OutcomeCredit(Credit):
    """One advantage for all tokens of a completion, by the rewards of its tree.

    A span that several completions share gets the mean of their advantages.
    """

    per_completion: ClassVar[bool] = True

    @abstractmethod
    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group."""

    def of_completions(self, rewards: FloatArray, lengths: FloatArray) -> FloatArray:
        """Return A [G] of rewards [G] and numbers of tokens [G] of one group: of the rewards alone, unless it says."""
        return self.of_rewards(rewards)

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`. Raises ConfigError where there is not a finite one for each completion."""
        leaves = tree.rewarded
        lengths = np.array([tree.branches[leaf].end for leaf in leaves], dtype=np.float64)
        by_length = type(self).of_completions is not OutcomeCredit.of_completions
        given = Returned(
            self,
            "of_completions" if by_length else "of_rewards",
            self.of_completions(tree.rewards(leaves), lengths),
        )
        return spread(tree, given.numbers(len(leaves), f"rewarded completions of problem '{tree.problem.id}'"))


def spread(tree: RolloutTree, advantages: FloatArray) -> TokenField:
    """Return a field with the advantage of each rewarded completion [G] on its tokens, the mean where they share."""
    field = unassigned(tree)
    of_leaf = dict(zip(tree.rewarded, advantages.tolist(), strict=True))
    for span in tree.spans():
        advantage = field[span.branch]
        shared = [of_leaf[leaf] for leaf in span.leaves if leaf in of_leaf]
        if advantage is not None and shared:
            advantage[span.start : span.stop] = np.mean(shared)
    return tuple(field)
