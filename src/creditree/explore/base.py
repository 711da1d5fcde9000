"""What an explorer is: a generator that says which branches it wants sampled, and is sent the trees grown by them."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from creditree.demand import Sampled
from creditree.piece import Piece, number
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import Forest, RolloutTree


@dataclass(frozen=True, slots=True)
class Fork:
    """A wish for `count` new branches of `forest[tree]` that inherit `at` completion tokens of branch `parent`.

    `signals`: what the explorer wants to know of the new tokens;  `learns`: whether they may learn (`Branch`).
    """

    tree: int
    parent: int | None
    at: int
    count: int
    signals: Signals = NO_SIGNALS
    learns: bool = True


@dataclass(frozen=True, slots=True)
class Growth:
    """The forest as the explorer wants it (new roots appended at its end), and the forks to sample in it."""

    forest: Forest
    forks: tuple[Fork, ...]

    @classmethod
    def below(cls, forest: Forest, roots: Sequence[RolloutTree], count: int) -> "Growth":
        """Return the wish for `count` completions from each of some new roots."""
        return cls((*forest, *roots), tuple(Fork(len(forest) + i, None, 0, count) for i in range(len(roots))))


Exploration = Generator[Growth, Forest, Forest]
ExplorerState = dict[str, Any]
"""What an explorer remembers from step to step: numbers by name, as JSON can hold them."""


@dataclass(frozen=True)
class Explorer(Piece, ABC):
    """How the tree grows. Explorers never call an engine: the loop collects all wishes and samples them together.

    One that forks, or samples more than the group, says what it may cost (`max_completions`): a run that would sample
    more is refused, and the plan goes by it. `forks`: whether completions of one tree share tokens by their growth.
    """

    group: int = number(
        8,
        "completions sampled from one root",
        least=2,
        why="credit compares completions of one problem, so a group needs at least 2",
    )
    axis: ClassVar[str] = "explore"
    forks: ClassVar[bool] = False

    def start(self) -> ExplorerState:
        """Return what it remembers before the first step: nothing, unless it says so."""
        return {}

    def at_state(self, state: ExplorerState) -> Self:
        """Return this explorer as it is with what it remembers; pure, so that a run resumes exactly."""
        return self

    def after(self, forests: Sequence[Forest], state: ExplorerState) -> ExplorerState:
        """Return what it remembers after a step whose problems have grown these forests."""
        return state

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: the group, unless an explorer says more."""
        return self.group

    @property
    def signals(self) -> Signals:
        """What it wants to know of the tokens of the first group: nothing, unless it says so."""
        return NO_SIGNALS

    def demand(self, length: int) -> Sampled:
        """Return what is sampled of a problem, in completions of `length` tokens, at most.

        Where an explorer does not say it better: all its completions whole, as one group.
        """
        return Sampled(self.max_completions, signals=self.signals)

    @abstractmethod
    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the growth wanted; be sent the forest grown by it, judged; return the whole forest."""
