"""A problem that is being explored: its generator, what it wants sampled, and the forest so far."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from creditree.errors import ConfigError
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.returned import Returned
from creditree.rng import Key
from creditree.text import shown
from creditree.tree import Forest, RolloutTree

GROW = "a generator that yields each Growth that it wants sampled, and returns the whole forest"
"""What `grow` has to be."""


@dataclass(slots=True, eq=False)
class Exploring:
    """One problem under way. `growth` is None when the explorer has returned, or was ended; `forest` is then whole.

    `index`: of the problem in the stream of training problems;  `budget`: tokens of a whole completion, at most;
    `rounds`: how many have been sampled;  `ended`: it was ended before its explorer was done;  `drawn`: how many
    branches each tree had before the present step.
    """

    explorer: Explorer
    index: int
    key: Key
    budget: int
    exploration: Exploration
    growth: Growth | None
    forest: Forest = ()
    rounds: int = 0
    ended: bool = False
    drawn: tuple[int, ...] = field(default=())

    @classmethod
    def start(cls, explorer: Explorer, root: RolloutTree, index: int, key: Key, budget: int) -> "Exploring":
        """Return the exploration of a problem, before its first round."""
        exploration = explorer.grow(root, key)
        if not isinstance(exploration, Generator):
            raise Returned(explorer, "grow", exploration).refused(shown(exploration), GROW)
        new = cls(explorer, index, key, budget, exploration, None)
        try:
            new.growth = new._within(next(exploration))
        except StopIteration:
            raise Returned(explorer, "grow", None).refused("nothing to sample before it ended", GROW) from None
        return new

    @classmethod
    def resume(
        cls, explorer: Explorer, root: RolloutTree, index: int, key: Key, budget: int, forest: Forest, *, ended: bool
    ) -> "Exploring":
        """Return the exploration of a problem after its first round, whose judged forest is given.

        An explorer is a function of root, key and what it was sent, so it goes on as the first one would have.
        """
        resumed = cls.start(explorer, root, index, key, budget)
        resumed.send(forest)
        if ended:
            resumed.end()
        resumed.mark()
        return resumed

    @property
    def is_pending(self) -> bool:
        """Whether it wants anything sampled."""
        return self.growth is not None

    def send(self, forest: Forest) -> None:
        """Hand the explorer the forest grown by what it wanted, judged."""
        self.rounds += 1
        self.forest = forest
        try:
            self.growth = self._within(self.exploration.send(forest))
        except StopIteration as finished:
            self.growth = None
            self.forest = self._forest(finished.value, "at its end")

    def finish(self, forest: Forest, rounds: int) -> None:
        """Take the whole forest, which was explored elsewhere to its end in so many rounds."""
        self.exploration.close()
        self.growth, self.forest, self.rounds = None, forest, rounds

    def _within(self, growth: Growth) -> Growth:
        """Return what is wanted. Raises ConfigError where it cannot be sampled, or is more than the explorer said."""
        growth = Returned(self.explorer, "grow", growth).a(Growth, GROW)
        forest, forks = self._forest(growth.forest, "as a Growth's forest"), self._returned(growth.forks)
        for fork in forks.items(None, "a tuple of forks in each Growth"):
            self._check(fork, forest)
        total = sum(len(tree.branches) for tree in growth.forest) + sum(fork.count for fork in growth.forks)
        limit = self.explorer.max_completions
        if total > limit:
            raise ConfigError(
                f"method.explore '{self.explorer.name}' wants {total} completions of a problem and says that it takes "
                f"{limit} at most, which the plan goes by; let its max_completions say what it takes."
            )
        return growth

    def _returned(self, value: Any) -> Returned:
        return Returned(self.explorer, "grow", value)

    def _forest(self, value: Any, when: str) -> Forest:
        returned = self._returned(value)
        trees = value if isinstance(value, list | tuple) else ()
        if not trees or not all(isinstance(tree, RolloutTree) for tree in trees):
            raise returned.refused(f"{shown(value)} {when}", "the forest that it was sent, or one that it made of it")
        return tuple(trees)

    def _check(self, fork: Any, forest: Forest) -> None:
        """Raise ConfigError for a fork that is none in `forest`, or leaves no token to sample."""
        returned = self._returned(fork)
        fork = returned.a(Fork, "forks in each Growth")
        wish = f"Fork(tree={fork.tree}, parent={fork.parent}, at={fork.at}, count={fork.count})"
        if not _is_among(fork.tree, len(forest)):
            raise returned.refused(wish, f"forks of one of the {len(forest)} trees of the Growth, counted from 0")
        tree = forest[fork.tree]
        if fork.parent is not None and not _is_among(fork.parent, len(tree.branches)):
            raise returned.refused(
                wish, f"forks of one of the {len(tree.branches)} branches of tree {fork.tree}, or None"
            )
        most = 1 if fork.parent is None else tree.branches[fork.parent].end
        if not _is_among(fork.at, most):
            raise returned.refused(wish, f"an at from 0 to {most - 1}: fewer tokens than its parent's completion has")
        if self.budget <= len(tree.kept_ids) + fork.at:
            kept = f"{len(tree.kept_ids) + fork.at} of {self.budget} tokens of a completion"
            raise returned.refused(f"{wish}, which keeps {kept}", "forks that leave at least one token to sample")
        self._returned(fork.count).whole(1)

    def end(self) -> None:
        """Stop exploring; keep the forest."""
        self.exploration.close()
        self.growth = None
        self.ended = True

    def mark(self) -> None:
        """Note what has been sampled so far: it belongs to an earlier step from now on."""
        self.drawn = tuple(len(tree.branches) for tree in self.forest)

    def new_leaves(self) -> list[tuple[RolloutTree, int]]:
        """Return the branches sampled since the last mark, each with its tree."""
        drawn = (*self.drawn, *([0] * (len(self.forest) - len(self.drawn))))
        return [(tree, leaf) for tree, old in zip(self.forest, drawn, strict=True) for leaf in tree.leaves[old:]]


def _is_among(value: Any, count: int) -> bool:
    """Return whether a value is the number of one of `count` things."""
    return isinstance(value, int | np.integer) and bool(0 <= value < count)
