"""What a selection is: which tokens learn, and with which weight. It never changes an advantage."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

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

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return the weights of a KL penalty, where they are not those of the loss; else None.

        They are those of the loss wherever these are not 0.
        """
        return None

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return what the weights of the problems of one optimiser step are divided by, above 0: their number."""
        return float(len(forests))


@dataclass(frozen=True)
class ByCompletion(Selection):
    """A selection that weighs one completion at a time; a token that several share has the sum of their weights."""

    @abstractmethod
    def of_completion(self, completion: Completion) -> FloatArray:
        """Return the weights [L] of a completion's tokens."""

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        group = num_trained(forest, advantages)
        weights = []
        for index, (tree, given) in enumerate(zip(forest, advantages, strict=True)):
            field = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                completion = Completion(tree, leaf, group, given, key.at("mask", index, leaf))
                own = Returned(self, "of_completion", self.of_completion(completion))
                weight = own.numbers(completion.length, f"tokens of a completion of problem '{tree.problem.id}'")
                scatter(tree, leaf, weight, field, add=True)
            weights.append(tuple(field))
        return tuple(weights)
