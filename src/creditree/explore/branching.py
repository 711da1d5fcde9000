"""Branching: grow a small tree below each completion, then see which of its parts decide (TreeRL, arXiv 2506.11902)."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from creditree.demand import Branches, Sampled
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.explore.expansion import OfAllCorrect, Rounding, plan_expansion
from creditree.piece import again, fitted, number
from creditree.rng import Key
from creditree.signals import NO_SIGNALS
from creditree.steps import Separators
from creditree.tree import IntArray, RolloutTree

Expansion = Literal["all", "difficulty"]

Point = tuple[int, int]
"""Branch, and the number of completion tokens to keep of it: the token at that offset is sampled again."""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A branch as something to fork. `taken`: offsets of its completion at which it, or what it inherits, was forked.

    Its own tokens lie at offsets [fork, end); the one at `fork` is another choice at a point that was forked already,
    so a rule never takes it, or the first of the completion (of a `chain`), which a rule may take.
    """

    branch: int
    fork: int
    completion: IntArray
    taken: tuple[int, ...]
    chain: bool = False

    @property
    def end(self) -> int:
        """Number of tokens of the completion."""
        return len(self.completion)

    def is_open(self, at: int, *, first_token: bool = False) -> bool:
        """Return whether the token at offset `at` is this branch's own, not its first, and was not forked before.

        `first_token`: that of a chain is open too.
        """
        first = self.fork if first_token and self.chain else self.fork + 1
        return first <= at < self.end and at not in self.taken


@dataclass(frozen=True)
class Branching(Explorer):
    """M initial chains, then L rounds: at N points of each expanded chain's tree, T new continuations.

    `group` M, `points` N, `rounds` L, `continuations` T, as TreeRL writes (M, N, L, T). One tree is an initial chain
    and all that grew below it; a round pools the tokens of all its branches and takes N points that were not forked
    before, fewer where there are fewer. What was forked keeps its own ending as a leaf.

    `expansion`: ``all`` chains, or as many as the ``difficulty`` of the problem suggests (`plan_expansion`, with
    `rounding` and `of_all_correct`; a reward >= `threshold` is correct). A chain without a reward is not expanded.
    `separators` come from the tokenizer (`fitted`).
    """

    group: int = again(Explorer, "group", 6)
    points: int = number(2, "points to fork at, a round and chain", least=1)
    rounds: int = number(1, "rounds of forks", least=1)
    continuations: int = number(2, "new completions from each point", least=1)
    expansion: Expansion = number("all", "chains that are forked")
    rounding: Rounding = number("ceil", "how the number of chains is rounded")
    of_all_correct: OfAllCorrect = number("first", "which chains of a problem whose first completions are all correct")
    threshold: float = number(1.0, "reward from which a completion is a success")
    separators: Separators = fitted(Separators())
    forks: ClassVar[bool] = True
    looks_at_steps: ClassVar[bool] = True

    @abstractmethod
    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return at most `points` different open points of the branches of one tree; pure."""

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: M (1 + N L T)."""
        return self.group * (1 + self.points * self.rounds * self.continuations)

    def demand(self, length: int) -> Sampled:
        """Return the group, and what is forked below each of its completions."""
        return Sampled(self.group, 0, Branches(self.points, self.rounds, self.continuations), self.signals)

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer with the separators of the tokenizer at hand."""
        return replace(self, separators=separators)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the group, then one round of branches after another."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, self.signals),))
        chains = self._expanded(forest[0], key)
        for turn in range(self.rounds):
            wanted = self.signals if turn + 1 < self.rounds else NO_SIGNALS
            points = self._points(forest[0], chains, key.at("round", turn))
            if not points:
                break
            forks = tuple(Fork(0, branch, at, self.continuations, wanted) for branch, at in points)
            forest = yield Growth(forest, forks)
        return forest

    def _expanded(self, tree: RolloutTree, key: Key) -> tuple[int, ...]:
        leaves = tree.rewarded
        if self.expansion == "all":
            return leaves
        correct = [reward >= self.threshold for reward in tree.rewards(leaves).tolist()]
        plan = plan_expansion(correct, key, rounding=self.rounding, of_all_correct=self.of_all_correct)
        return tuple(leaves[i] for i in plan)

    def _points(self, tree: RolloutTree, chains: Sequence[int], key: Key) -> list[Point]:
        below = nodes_below(tree)
        return [point for chain in chains for point in self.choose(tree, below[chain], key.at("chain", chain))]


def nodes_below(tree: RolloutTree) -> dict[int, list[Node]]:
    """Return for each initial chain the branches of its tree, itself first."""
    forks: dict[int, set[int]] = {index: set() for index in tree.leaves}
    chain_of: list[int] = []
    for index, branch in enumerate(tree.branches):
        origin = branch.beside if branch.parent is None else branch.parent
        chain_of.append(index if origin is None else chain_of[origin])
        if origin is not None:
            forks[origin].add(branch.fork)
    below: dict[int, list[Node]] = {}
    for index, chain in enumerate(chain_of):
        path = tree.path(index)
        ends = np.cumsum([stop for _, stop in path])
        taken = {at for (above, _), end in zip(path, ends, strict=True) for at in forks[above] if at <= end}
        branch = tree.branches[index]
        node = Node(index, branch.fork, tree.completion(index), tuple(sorted(taken)), branch.is_chain)
        below.setdefault(chain, []).append(node)
    return below
