"""What a selection is: which tokens learn, and with which weight. It never changes an advantage."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from creditree.fields import TokenField
from creditree.rng import Key
from creditree.tree import Forest


class Selection(Protocol):
    """Weights, divided by the update's `normaliser`, are the method's whole mean: the learner multiplies and sums."""

    name: ClassVar[str]

    @property
    def unique_pairs(self) -> bool:
        """Whether each (prefix, next token) pair is weighted once, however many completions hold it."""
        ...

    def weigh(self, forest: Forest, advantages: tuple[TokenField, ...], key: Key) -> tuple[TokenField, ...]:
        """Return the weights of every tree of `forest`; a token of weight 0 does not learn."""
        ...

    def normaliser(self, weights: Sequence[tuple[TokenField, ...]]) -> float:
        """Return what the weights of all problems of one optimiser step are divided by, above 0."""
        ...
