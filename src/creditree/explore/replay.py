"""Replay: re-sample from inside completions, so that later positions share prefixes too (arXiv 2504.20834, T-SPMO)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from creditree.errors import ConfigError
from creditree.explore.explorer import Exploration, Fork, Growth
from creditree.explore.group import check_group
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.steps import Separators
from creditree.tree import RolloutTree


@dataclass(frozen=True, slots=True)
class Replay:
    """A group, then for some of its completions a second group from a random prefix of each.

    At most `successes` completions with reward >= `threshold` and `failures` with reward < `threshold` are drawn
    without replacement from this step's first group. Each is cut at a position uniform in [T_prompt, T_total - 1]: the
    first `cut` completion tokens are kept, at least one is sampled again, and the kept ones count towards the token
    budget. Each replayed prefix roots a tree of its own: merging it into the first tree would weigh the replayed branch
    too much in the mean reward of every prefix above the cut.
    """

    group: int = 50
    successes: int = 1
    failures: int = 1
    threshold: float = 1.0
    name: ClassVar[str] = "replay"

    def __post_init__(self) -> None:
        check_group(self.group)
        for budget in ("successes", "failures"):
            if getattr(self, budget) < 0:
                raise ConfigError(f"method.{budget} is {getattr(self, budget)}: it counts completions; set 0 or more.")

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: the group, once for the prompt and once for each replay."""
        return self.group * (1 + self.successes + self.failures)

    @property
    def signals(self) -> Signals:
        """What the cut depends on, besides chance: nothing."""
        return NO_SIGNALS

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer: it does not look at steps."""
        return self

    def cut(self, tree: RolloutTree, leaf: int, key: Key) -> int:
        """Return how many tokens of a completion to keep."""
        return key.integer(0, len(tree.completion(leaf)) - 1)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the first group, then all replays together."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, self.signals),))
        roots = self._roots(forest[0], key)
        if not roots:
            return forest
        forks = tuple(Fork(len(forest) + index, None, 0, self.group) for index in range(len(roots)))
        return (yield Growth(forest + roots, forks))

    def _roots(self, tree: RolloutTree, key: Key) -> tuple[RolloutTree, ...]:
        rewards = {leaf: float(reward) for leaf, reward in zip(tree.rewarded, tree.rewards(tree.rewarded), strict=True)}
        pools = {
            "success": ([leaf for leaf, reward in rewards.items() if reward >= self.threshold], self.successes),
            "failure": ([leaf for leaf, reward in rewards.items() if reward < self.threshold], self.failures),
        }
        roots = []
        for pool, (leaves, budget) in pools.items():
            for draw, chosen in enumerate(key.at("replay", pool).choose(budget, len(leaves))):
                leaf = leaves[chosen]
                kept = tree.completion(leaf)[: self.cut(tree, leaf, key.at("cut", pool, draw))]
                roots.append(RolloutTree(tree.problem, tree.prompt_ids, kept))
        return tuple(roots)
