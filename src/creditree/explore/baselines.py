"""Branching without any signal: at random, and at the first steps (baselines of arXiv 2509.26628, table 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from creditree.explore.branching import Branching, Node, Point
from creditree.piece import number
from creditree.rng import Key
from creditree.steps import split_steps
from creditree.tree import RolloutTree

Unit = Literal["token", "step"]


@dataclass(frozen=True)
class RandomBranching(Branching):
    """N points drawn uniformly, without replacement, from the tokens or from the starts of steps of a tree."""

    unit: Unit = number("token", "where a fork may be")
    name: ClassVar[str] = "random_branching"
    paper: ClassVar[str] = "arXiv 2509.26628, table 2"

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


@dataclass(frozen=True)
class FirstSteps(Branching):
    """The earliest starts of steps: steps 2, 3, ... of a chain, and in later rounds those nearest to the prompt."""

    name: ClassVar[str] = "first_steps"
    paper: ClassVar[str] = "arXiv 2509.26628, table 2"

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return the earliest open points."""
        starts = (
            (start, node.branch)
            for node in nodes
            for start, _ in split_steps(node.completion, self.separators)
            if node.is_open(start)
        )
        return [(branch, at) for at, branch in sorted(starts)[: self.points]]
