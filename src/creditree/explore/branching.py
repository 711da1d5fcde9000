"""Branching: grow a small tree below each completion, then see which of its parts decide (TreeRL, arXiv 2506.11902)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

import numpy as np

from creditree.errors import check_choice, check_least
from creditree.explore.expansion import OfAllCorrect, Rounding, plan_expansion
from creditree.explore.explorer import Exploration, Fork, Growth
from creditree.explore.group import check_group
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
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


@dataclass(frozen=True, slots=True)
class Branching(ABC):
    """M initial chains, then L rounds: at N points of each expanded chain's tree, T new continuations.

    `group` M, `points` N, `rounds` L, `continuations` T, as TreeRL writes (M, N, L, T). One tree is an initial chain
    and all that grew below it; a round pools the tokens of all its branches and takes N points that were not forked
    before, fewer where there are fewer. What was forked keeps its own ending as a leaf.

    `expansion`: ``all`` chains, or as many as the ``difficulty`` of the problem suggests (`plan_expansion`, with
    `rounding` and `of_all_correct`; a reward >= `threshold` is correct). A chain without a reward is not expanded.
    `separators` come from the tokenizer (`fitted`).
    """

    group: int = 6
    points: int = 2
    rounds: int = 1
    continuations: int = 2
    expansion: Expansion = "all"
    rounding: Rounding = "ceil"
    of_all_correct: OfAllCorrect = "first"
    threshold: float = 1.0
    separators: Separators = field(default=Separators(), kw_only=True, repr=False, metadata={"fitted": True})
    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_group(self.group)
        for count in ("points", "rounds", "continuations"):
            check_least(f"method.{count}", getattr(self, count), 1)
        check_choice("method.expansion", self.expansion, get_args(Expansion))
        check_choice("method.rounding", self.rounding, get_args(Rounding))
        check_choice("method.of_all_correct", self.of_all_correct, get_args(OfAllCorrect))

    @property
    @abstractmethod
    def signals(self) -> Signals:
        """What the rule wants to know of the tokens of a branch."""

    @abstractmethod
    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return at most `points` different open points of the branches of one tree; pure."""

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: M (1 + N L T)."""
        return self.group * (1 + self.points * self.rounds * self.continuations)

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer with the separators of the tokenizer at hand."""
        return replace(self, separators=separators)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the group, then one round of branches after another."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, self.signals),))
        chains = self._expanded(forest[0], key)
        for number in range(self.rounds):
            wanted = self.signals if number + 1 < self.rounds else NO_SIGNALS
            points = self._points(forest[0], chains, key.at("round", number))
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
        taken = {at for (held, _), end in zip(path, ends, strict=True) for at in forks[held] if at <= end}
        branch = tree.branches[index]
        node = Node(index, branch.fork, tree.completion(index), tuple(sorted(taken)), branch.is_chain)
        below.setdefault(chain, []).append(node)
    return below
