"""What a selection is: which tokens learn, and with which weight. It never changes an advantage."""

from typing import ClassVar, Protocol

from creditree.fields import TokenField
from creditree.rng import Key
from creditree.tree import Forest


class Selection(Protocol):
    """Weights contain the method's whole normaliser: the learner only multiplies and sums."""

    name: ClassVar[str]

    @property
    def unique_pairs(self) -> bool:
        """Whether each (prefix, next token) pair is weighted once, however many completions hold it."""
        ...

    def weigh(self, forest: Forest, advantages: tuple[TokenField, ...], key: Key) -> tuple[TokenField, ...]:
        """Return the weights of every tree of `forest`; a token of weight 0 does not learn."""
        ...
