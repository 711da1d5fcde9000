"""What a selection is: which tokens learn, and with which weight. It never changes an advantage."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from creditree.demand import Learned
from creditree.fields import TokenField, gather, num_learning, num_trained, same_assigned, scatter, trained_leaves
from creditree.piece import Piece
from creditree.returned import Returned
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import FloatArray, Forest, RolloutTree

ForestField = tuple[TokenField, ...]
"""A token field for every tree of a forest."""


@dataclass(frozen=True, eq=False, slots=True)
class Completion:
    """One of the `group` completions of a problem that are trained on: `leaf` of `tree`, of `length` tokens.

    `key` is its own: what it draws does not depend on the others.
    """

    tree: RolloutTree
    leaf: int
    group: int
    advantages: TokenField
    key: Key

    @property
    def length(self) -> int:
        """Tokens of the completion."""
        return self.tree.branches[self.leaf].end

    @property
    def learning(self) -> int:
        """Tokens of it that learn: what a mean over its tokens is a mean over."""
        return num_learning(self.tree, self.leaf, self.advantages)

    @property
    def learns(self) -> NDArray[np.bool_]:
        """Which of its tokens learn [L]: all but those that it inherits from branches that do not."""
        path = self.tree.path(self.leaf)
        return np.concatenate([np.full(stop, self.advantages[branch] is not None) for branch, stop in path])

    def placed(self, values: FloatArray) -> FloatArray:
        """Return numbers of all its tokens [L], given those of the tokens that learn; 0 for the others."""
        whole = np.zeros(self.length)
        whole[self.learns] = values
        return whole

    @property
    def advantage(self) -> FloatArray:
        """Advantages of its tokens [L]."""
        return gather(self.tree, self.leaf, self.advantages)


@dataclass(frozen=True)
class Selection(Piece, ABC):
    """Weights, divided by the update's `normaliser`, are the method's whole mean: the learner multiplies and sums.

    `unique_pairs`: each (prefix, next token) pair is weighted once, however many completions hold it. `signals`: what
    the engine is to tell of every sampled token, whatever the explorer asks for. `reads_sampler_logprobs`: it looks at
    `Branch.sampler_logprobs`, which an engine may not know.
    """

    axis: ClassVar[str] = "select"
    unique_pairs: ClassVar[bool] = False
    signals: ClassVar[Signals] = NO_SIGNALS
    reads_sampler_logprobs: ClassVar[bool] = False

    @property
    def chosen(self) -> Mapping[str, float]:
        """What `of_step` has read off the step's forests, by name, for the metrics: nothing, unless it says so."""
        return {}

    def demand(self, length: int) -> Learned:
        """Return which tokens of completions of `length` learn, at most: all, unless a selection says it better."""
        return Learned()

    def at_progress(self, progress: float) -> Self:
        """Return this selection as it is in the course of training, from 0 to 1: the same, unless it changes."""
        return self

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection with what it takes from all problems of a training step together; it draws nothing."""
        return self

    @abstractmethod
    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`; a token of weight 0 does not learn.

        A selection that looks at a whole step and was not given one (`of_step`) takes this forest for it.
        """

    def blended(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return advantages under which the weights of `weigh` make the loss of one row for each completion.

        For credits that give a completion one advantage A_i for all its tokens (`Credit.per_completion`): a token that
        several completions share has one weight and one advantage here, and its part of the loss is to be sum_i w_i A_i
        with w_i the weight that completion i gives it. The same as given, unless a selection weighs completions.
        """
        return advantages

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return the weights of a KL penalty, where they are not those of the loss; else None.

        They are those of the loss wherever these are not 0.
        """
        return None

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return what the weights of the problems of one optimiser step are divided by, above 0.

        The number of problems that are trained on: one of which nothing was judged is no part of a mean.
        """
        pairs = zip(forests, advantages, strict=True)
        return max(1.0, float(sum(num_trained(forest, given) > 0 for forest, given in pairs)))


@dataclass(frozen=True)
class ByCompletion(Selection):
    """A selection that weighs one completion at a time; a token that several share has the sum of their weights."""

    @abstractmethod
    def of_completion(self, completion: Completion) -> FloatArray:
        """Return the weights [L] of a completion's tokens."""

    def ready(self, forest: Forest, advantages: ForestField) -> Self:
        """Return this selection as it weighs: the same, unless it looks at a whole step and was given none."""
        return self

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        weights = [same_assigned(given) for given in advantages]
        for index, completion, values in self._weighed(forest, advantages, key):
            scatter(completion.tree, completion.leaf, values, weights[index], add=True)
        return tuple(tuple(field) for field in weights)

    def blended(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return sum_i w_i A_i / sum_i w_i for tokens that several weighted completions hold, else what was given.

        A_i is what a completion's own last token has, which no other holds.
        """
        if all(branch.parent is None for tree in forest for branch in tree.branches):
            return advantages
        holders, weights, products = ([same_assigned(given) for given in advantages] for _ in range(3))
        for index, completion, values in self._weighed(forest, advantages, key):
            for sums, parts in (
                (holders, np.ones(completion.length)),
                (weights, values),
                (products, values * completion.advantage[-1]),
            ):
                scatter(completion.tree, completion.leaf, parts, sums[index], add=True)
        return tuple(
            tuple(map(_mean_where_shared, *fields))
            for fields in zip(advantages, holders, weights, products, strict=True)
        )

    def _weighed(
        self, forest: Forest, advantages: ForestField, key: Key
    ) -> Iterator[tuple[int, Completion, FloatArray]]:
        """Yield each completion to train on with the number of its tree and its weights [L]."""
        group, ready = num_trained(forest, advantages), self.ready(forest, advantages)
        for index, (tree, given) in enumerate(zip(forest, advantages, strict=True)):
            for leaf in trained_leaves(tree, given):
                completion = Completion(tree, leaf, group, given, key.at("mask", index, leaf))
                own = Returned(self, "of_completion", ready.of_completion(completion))
                yield (
                    index,
                    completion,
                    own.numbers(completion.length, f"tokens of a completion of problem '{tree.problem.id}'"),
                )


def _mean_where_shared(
    given: FloatArray | None, holders: FloatArray | None, weights: FloatArray | None, products: FloatArray | None
) -> FloatArray | None:
    if given is None or holders is None or weights is None or products is None:
        return None
    return np.divide(products, weights, out=given.copy(), where=(holders > 1) & (weights != 0))
