"""What a selection is: which tokens learn, and with which weight. It never changes an advantage."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from creditree.fields import TokenField
from creditree.rng import Key
from creditree.signals import Signals
from creditree.tree import Forest

ForestField = tuple[TokenField, ...]
"""A token field for every tree of a forest."""

NOTHING_CHOSEN: Mapping[str, float] = {}


class Selection(Protocol):
    """Weights, divided by the update's `normaliser`, are the method's whole mean: the learner multiplies and sums."""

    name: ClassVar[str]

    @property
    def unique_pairs(self) -> bool:
        """Whether each (prefix, next token) pair is weighted once, however many completions hold it."""
        ...

    @property
    def signals(self) -> Signals:
        """What the engine is to tell of every sampled token, whatever the explorer asks for."""
        ...

    @property
    def chosen(self) -> Mapping[str, float]:
        """What `of_step` has read off the step's forests, by name, for the metrics."""
        ...

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> "Selection":
        """Return this selection with what it takes from all problems of a training step together; it draws nothing."""
        ...

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`; a token of weight 0 does not learn.

        A selection that looks at a whole step and was not given one (`of_step`) takes this forest for it.
        """
        ...

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return the weights of a KL penalty, where they are not those of the loss; else None.

        They are those of the loss wherever these are not 0.
        """
        ...

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return what the weights of the problems of one optimiser step are divided by, above 0."""
        ...
