"""What an explorer is: a generator that says which branches it wants sampled, and is sent the trees grown by them."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.steps import Separators
from creditree.tree import Forest, RolloutTree


@dataclass(frozen=True, slots=True)
class Fork:
    """A wish for `count` new branches of `forest[tree]` that inherit `at` completion tokens of branch `parent`.

    `signals`: what the explorer wants to know of the new tokens.
    """

    tree: int
    parent: int | None
    at: int
    count: int
    signals: Signals = NO_SIGNALS


@dataclass(frozen=True, slots=True)
class Growth:
    """The forest as the explorer wants it (new roots appended at its end), and the forks to sample in it."""

    forest: Forest
    forks: tuple[Fork, ...]


Exploration = Generator[Growth, Forest, Forest]


class Explorer(Protocol):
    """How the tree grows. Explorers never call an engine: the loop collects all wishes and samples them together."""

    name: ClassVar[str]

    @property
    def group(self) -> int:
        """How many completions are sampled from the prompt in the first round."""
        ...

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost."""
        ...

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the growth wanted; be sent the forest grown by it, judged; return the whole forest."""
        ...

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer with the separators of the tokenizer at hand, where it looks at steps."""
        ...
