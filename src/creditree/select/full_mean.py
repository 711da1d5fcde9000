"""Selections that take a part of the full-token mean: what they have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from creditree.rng import Key
from creditree.select.everything import Everything, LossMean
from creditree.select.selection import NOTHING_CHOSEN, ForestField
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class PartOfMean(ABC):
    """A part of what `everything` averages over with the same `loss_mean`, and divided by the same normaliser.

    So a part that is the whole is `everything`, to the bit.
    """

    loss_mean: LossMean = field(default="completions", kw_only=True)
    name: ClassVar[str]
    unique_pairs: ClassVar[bool] = False
    signals: ClassVar[Signals] = NO_SIGNALS

    def __post_init__(self) -> None:
        Everything(self.loss_mean)

    @property
    def full(self) -> Everything:
        """The mean over all tokens."""
        return Everything(self.loss_mean)

    @property
    def chosen(self) -> Mapping[str, float]:
        """Nothing."""
        return NOTHING_CHOSEN

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection: it looks at one completion at a time."""
        return self

    @abstractmethod
    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""

    def penalised(self, forest: Forest, advantages: ForestField) -> ForestField | None:
        """Return None: a KL penalty has the weights of the loss."""
        return None

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return that of `everything`: the number of problems, or that of all tokens."""
        return self.full.normaliser(forests, advantages)
