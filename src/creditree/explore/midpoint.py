"""Branching by bisection: fork in the middle of the longest run of tokens that nothing was forked from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from creditree.explore.branching import Branching, Node, Point
from creditree.rng import Key
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class Midpoint(Branching):
    """N points, one after the other each in the middle of the longest run without a fork; the earliest of equals.

    No signal is asked for: a baseline for rules that do, which spreads its forks as evenly as can be.
    """

    name: ClassVar[str] = "midpoint"
    paper: ClassVar[str] = "ours"

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return the middles, in order. A run of one token has none that is open."""
        cuts = {
            node.branch: sorted({node.fork, *(at for at in node.taken if at > node.fork), node.end}) for node in nodes
        }
        points: list[Point] = []
        for _ in range(self.points):
            runs = [(stop - start, start, branch) for branch, ends in cuts.items() for start, stop in pairwise(ends)]
            length, start, branch = max(runs, key=lambda run: (run[0], -run[1], -run[2]), default=(0, 0, 0))
            if length < 2:
                break
            at = start + length // 2
            cuts[branch] = sorted([*cuts[branch], at])
            points.append((branch, at))
        return sorted(points)
