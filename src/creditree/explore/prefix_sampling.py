"""Replay of prefixes that brings a problem's pass rate towards one half (Prefix Sampling, arXiv 2605.05112)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from creditree.demand import Sampled
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.explore.replay import Replay
from creditree.piece import again, number
from creditree.rng import Key
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class PrefixSampling(Explorer):
    """A group, then groups that go on from prefixes of it: of right completions where most failed, else of wrong ones.

    With p the share of the first group that is right (reward >= `threshold`) and t the `pass_rate`, the prefix is the
    share

        f = (t - p) / (1 - p)  of a right completion, where p < t;     f = 1 - t / p  of a wrong one, where p > t

    of its tokens, rounded down: what brings the pass rate to t if it rises evenly from p to 1 along a right completion,
    and falls evenly from p to 0 along a wrong one. `replays` completions are drawn without replacement. Where p is t,
    none is right or none wrong, or no token would be kept, it is `group`.

    Head starts and handicaps, and that kept tokens do not learn, are the paper's; the rule for f is ours.
    """

    replays: int = number(1, "completions that prefixes are taken from", least=1)
    pass_rate: float = number(0.5, "share right that prefixes are to lead to", above=0, below=1)
    threshold: float = again(Replay, "threshold", 1.0)
    name: ClassVar[str] = "prefix_sampling"
    paper: ClassVar[str] = "arXiv 2605.05112"

    @property
    def max_completions(self) -> int:
        """The group, once for the prompt and once for each prefix."""
        return self.group * (1 + self.replays)

    def demand(self, length: int) -> Sampled:
        """Return the group, and as many groups more as there are prefixes."""
        return Sampled(self.group, self.replays)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the first group, then all continuations of prefixes together."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group),))
        first = forest[0]
        right = [bool(reward >= self.threshold) for reward in first.rewards(first.rewarded)]
        passed = sum(right) / max(1, len(right))
        share = kept_share(passed, self.pass_rate)
        pool = [leaf for leaf, won in zip(first.rewarded, right, strict=True) if won == (passed < self.pass_rate)]
        roots = self._roots(first, pool, share, key)
        return (yield Growth.below(forest, roots, self.group)) if roots else forest

    def _roots(self, tree: RolloutTree, pool: Sequence[int], share: float, key: Key) -> list[RolloutTree]:
        chosen = (pool[place] for place in key.at("prefix").choose(self.replays, len(pool)))
        kept = ((leaf, int(share * tree.branches[leaf].end + 1e-9)) for leaf in chosen)
        return [tree.rooted(leaf, count) for leaf, count in kept if count > 0]


def kept_share(passed: float, target: float) -> float:
    """Return the share f of a completion to keep, so that the pass rate is expected to go from `passed` to `target`."""
    return (target - passed) / (1.0 - passed) if passed < target else 1.0 - target / max(passed, target)
