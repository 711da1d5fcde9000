"""Replay: re-sample from inside completions, so that later positions share prefixes too (arXiv 2504.20834, T-SPMO)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.demand import Sampled
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.piece import again, number
from creditree.rng import Key
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class Replay(Explorer):
    """A group, then for some of its completions a second group from a random prefix of each.

    At most `successes` completions with reward >= `threshold` and `failures` with reward < `threshold` are drawn
    without replacement from this step's first group. Each is cut at a position uniform in [T_prompt, T_total - 1]: the
    first `cut` completion tokens are kept, at least one is sampled again, and the kept ones count towards the token
    budget. Each replayed prefix roots a tree of its own: merging it into the first tree would weigh the replayed branch
    too much in the mean reward of every prefix above the cut.
    """

    group: int = again(Explorer, "group", 50)
    successes: int = number(1, "successful completions re-sampled from a random cut", least=0)
    failures: int = number(1, "failed completions re-sampled from a random cut", least=0)
    threshold: float = number(1.0, "reward from which a completion is a success")
    name: ClassVar[str] = "replay"
    paper: ClassVar[str] = "arXiv 2504.20834"

    @property
    def max_completions(self) -> int:
        """The most completions that one problem may cost: the group, once for the prompt and once for each replay."""
        return self.group * (1 + self.successes + self.failures)

    def demand(self, length: int) -> Sampled:
        """Return the group, and as many groups more as there are replays."""
        return Sampled(self.group, self.successes + self.failures, signals=self.signals)

    def cut(self, tree: RolloutTree, leaf: int, key: Key) -> int:
        """Return how many tokens of a completion to keep."""
        return key.integer(0, len(tree.completion(leaf)) - 1)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the first group, then all replays together."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, self.signals),))
        roots = self._roots(forest[0], key)
        if not roots:
            return forest
        return (yield Growth.below(forest, roots, self.group))

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
                roots.append(tree.rooted(leaf, self.cut(tree, leaf, key.at("cut", pool, draw))))
        return tuple(roots)
