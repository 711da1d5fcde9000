"""A first part of a given solution, as long as the model needs it, then none (AdaPrefix, arXiv 2607.07674)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from creditree.explore.base import Exploration, Explorer, ExplorerState, Fork, Growth
from creditree.explore.prefix_sampling import PrefixSampling
from creditree.explore.replay import Replay
from creditree.piece import again, fitted, number
from creditree.rng import Key
from creditree.tree import Forest, RolloutTree


@dataclass(frozen=True)
class SolutionPrefix(Explorer):
    """A group that goes on from the first f L tokens, rounded down, of the problem's solution, which has L.

    The share f is one number for all problems. It begins with `prefix_first`, and a step moves it to

        f + speed (pass_rate - p), not below 0 and not above prefix_most,

    p the mean over the step's problems of the share of completions that are right (reward >= `threshold`): longer where
    less than `pass_rate` is solved, shorter where more is. Once f is 0 it stays 0: the help is withdrawn. With
    `withdraw` N, f is also at most prefix_most (1 - n / N) after n steps, so that it is gone after N.

    That the start is a part of a solution, led towards half solved and then withdrawn, is the paper's; how f moves is
    ours. Given tokens count towards a completion's length, and do not learn. The mean reward of a step is that with
    this help. With prefix_first 0 it is `group`, to the bit.
    """

    prefix_first: float = number(0.5, "share of the solution that is given in the first step", least=0, most=1)
    prefix_most: float = number(0.9, "share of the solution that is given at most", least=0, most=1)
    speed: float = number(0.1, "how much the share changes in a step where all or none is solved, times 2", above=0)
    pass_rate: float = again(PrefixSampling, "pass_rate", 0.5)
    withdraw: int | None = number(None, "steps after which nothing is given; none: when it is not needed", least=1)
    threshold: float = again(Replay, "threshold", 1.0)
    share: float | None = fitted(None)
    name: ClassVar[str] = "solution_prefix"
    paper: ClassVar[str] = "arXiv 2607.07674"
    needs_solution: ClassVar[bool] = True

    def start(self) -> ExplorerState:
        """Return `share`, that of the next step, and `steps` that were made."""
        return {"share": min(self.prefix_first, self.prefix_most), "steps": 0}

    def at_state(self, state: ExplorerState) -> Self:
        """Return this explorer with the share of the next step."""
        return replace(self, share=float(state["share"]))

    def after(self, forests: Sequence[Forest], state: ExplorerState) -> ExplorerState:
        """Return the share after a step, and one step more."""
        share, steps = float(state["share"]), int(state["steps"]) + 1
        judged = (tree.rewards(tree.rewarded) for tree, *_ in forests)
        passed = [float(np.mean(rewards >= self.threshold)) for rewards in judged if len(rewards)]
        if passed and share > 0.0:
            share += self.speed * (self.pass_rate - float(np.mean(passed)))
        most = self.prefix_most * (1.0 if self.withdraw is None else max(0.0, 1.0 - steps / self.withdraw))
        return {"share": max(0.0, min(share, most)), "steps": steps}

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield one fork at the end of what is given."""
        share = float(self.start()["share"]) if self.share is None else self.share
        given = tree.solution_ids[: int(share * len(tree.solution_ids) + 1e-9)]
        return (yield Growth((replace(tree, kept_ids=given),), (Fork(0, None, 0, self.group),)))
