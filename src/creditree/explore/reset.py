"""Resets: a group of suffixes from a random step of a failed completion (RRPO, arXiv 2605.25507)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from creditree.demand import Sampled
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.explore.replay import Replay
from creditree.piece import again, fitted, number
from creditree.rng import Key
from creditree.steps import Separators, split_steps
from creditree.tree import RolloutTree


@dataclass(frozen=True)
class Reset(Explorer):
    """A group, then for each of `resets` failed completions a group of suffixes from the start of one of its steps.

    Failed completions (reward < `threshold`) are drawn without replacement, the step evenly from all of a completion,
    the first one included. The first group only shows where to start: it does not learn, nor do the tokens that a reset
    keeps, so the gradient is on suffixes alone, and credit compares suffixes of one reset with one another. A problem
    without a failed completion teaches nothing.

    That both groups have one size, and how many completions are reset, is ours. Where every token is a step it is
    `replay` of failures, but for the first group, which learns there.
    """

    resets: int = number(1, "failed completions that are begun again from a random step of theirs", least=1)
    threshold: float = again(Replay, "threshold", 1.0)
    separators: Separators = fitted(Separators())
    name: ClassVar[str] = "reset"
    paper: ClassVar[str] = "arXiv 2605.25507"
    looks_at_steps: ClassVar[bool] = True

    @property
    def max_completions(self) -> int:
        """The group, once for the prompt and once for each reset."""
        return self.group * (1 + self.resets)

    def demand(self, length: int) -> Sampled:
        """Return the group, which does not learn, and as many groups more as there are resets."""
        return Sampled(self.group, self.resets, withheld=1)

    def fitted(self, separators: Separators) -> Self:
        """Return this explorer with the separators of the tokenizer at hand."""
        return replace(self, separators=separators)

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield the first group, then all suffixes together."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group, learns=False),))
        first = forest[0]
        failed = [leaf for leaf in first.rewarded if first.rewards([leaf])[0] < self.threshold]
        roots = [
            self._root(first, failed[chosen], key.at("step", draw))
            for draw, chosen in enumerate(key.at("reset").choose(self.resets, len(failed)))
        ]
        return (yield Growth.below(forest, roots, self.group)) if roots else forest

    def _root(self, tree: RolloutTree, leaf: int, key: Key) -> RolloutTree:
        steps = split_steps(tree.completion(leaf), self.separators)
        return tree.rooted(leaf, steps[key.integer(0, len(steps) - 1)][0])
