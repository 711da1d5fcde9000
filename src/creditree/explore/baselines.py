"""Branching without any signal: at random, and at the first steps (baselines of arXiv 2509.26628, table 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from creditree.errors import check_choice
from creditree.explore.branching import Branching, Node, Point
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.steps import split_steps
from creditree.tree import RolloutTree

Unit = Literal["token", "step"]


@dataclass(frozen=True, slots=True)
class RandomBranching(Branching):
    """N points drawn uniformly, without replacement, from the tokens or from the starts of steps of a tree."""

    unit: Unit = "token"
    name: ClassVar[str] = "random_branching"

    def __post_init__(self) -> None:
        Branching.__post_init__(self)
        check_choice("method.unit", self.unit, get_args(Unit))

    @property
    def signals(self) -> Signals:
        """None."""
        return NO_SIGNALS

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return random open points, in order."""
        pool = [
            (node.branch, at)
            for node in nodes
            for at in (range(node.end) if self.unit == "token" else self._starts(node))
            if node.is_open(at)
        ]
        return sorted(pool[i] for i in key.choose(self.points, len(pool)))

    def _starts(self, node: Node) -> list[int]:
        return [start for start, _ in split_steps(node.completion, self.separators)]


@dataclass(frozen=True, slots=True)
class FirstSteps(Branching):
    """The earliest starts of steps: steps 2, 3, ... of a chain, and in later rounds those nearest to the prompt."""

    name: ClassVar[str] = "first_steps"

    @property
    def signals(self) -> Signals:
        """None."""
        return NO_SIGNALS

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return the earliest open points."""
        starts = (
            (start, node.branch)
            for node in nodes
            for start, _ in split_steps(node.completion, self.separators)
            if node.is_open(start)
        )
        return [(branch, at) for at, branch in sorted(starts)[: self.points]]
