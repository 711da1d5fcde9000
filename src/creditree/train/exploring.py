"""A problem that is being explored: its generator, what it wants sampled, and the forest so far."""

from dataclasses import dataclass, field

from creditree.errors import ConfigError
from creditree.explore.base import Exploration, Explorer, Growth
from creditree.rng import Key
from creditree.tree import Forest, RolloutTree


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
        new = cls(explorer, index, key, budget, exploration, None)
        new.growth = new._within(next(exploration))
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
            self.forest = finished.value

    def finish(self, forest: Forest, rounds: int) -> None:
        """Take the whole forest, which was explored elsewhere to its end in so many rounds."""
        self.exploration.close()
        self.growth, self.forest, self.rounds = None, forest, rounds

    def _within(self, growth: Growth) -> Growth:
        """Return what is wanted. Raises ConfigError where that is more than the explorer said: the plan went by it."""
        total = sum(len(tree.branches) for tree in growth.forest) + sum(fork.count for fork in growth.forks)
        limit = self.explorer.max_completions
        if total > limit:
            raise ConfigError(
                f"method.explore '{self.explorer.name}' wants {total} completions of a problem and says that it takes "
                f"{limit} at most, which the plan goes by; let its max_completions say what it takes."
            )
        return growth

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
