"""One piece of each kind, as somebody outside writes them: a file that nothing else knows of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from creditree.credit.base import OutcomeCredit
from creditree.explore.base import Exploration, Explorer, Fork, Growth
from creditree.objective.base import Objective
from creditree.piece import number
from creditree.rng import Key
from creditree.schedule.base import Schedule, ScheduleState
from creditree.select.masked import Masked
from creditree.tree import Branch, FloatArray, RolloutTree


@dataclass(frozen=True)
class TwoGroups(Explorer):
    """A group, then a few completions more."""

    more: int = number(2, "completions of the second round", least=1)

    @property
    def max_completions(self) -> int:
        """Both groups."""
        return self.group + self.more

    def grow(self, tree: RolloutTree, key: Key) -> Exploration:
        """Yield one group after the other."""
        forest = yield Growth((tree,), (Fork(0, None, 0, self.group),))
        return (yield Growth(forest, (Fork(0, None, 0, self.more),)))


@dataclass(frozen=True)
class Ranks(OutcomeCredit):
    """How many completions are worse, less how many are better."""

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G]."""
        return np.asarray(np.sign(rewards[:, None] - rewards[None, :]).sum(axis=1))


@dataclass(frozen=True)
class LastTokens(Masked):
    """Only the last tokens of a completion learn."""

    last: int = number(2, "how many tokens", least=1)

    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""
        return np.arange(len(branch.token_ids)) >= len(branch.token_ids) - self.last


@dataclass(frozen=True)
class LogLikelihood(Objective):
    """Loss of a term: -A log pi."""

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M]."""
        return -advantage * logprobs


@dataclass(frozen=True)
class MoreThenFewer(Schedule):
    """Draws one problem more in every second step."""

    extra: int = number(1, "problems more", least=0)

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next."""
        return int(state["problems"]) + self.extra * int(state.get("steps", 0) % 2)

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Count the steps."""
        return state | {"steps": state.get("steps", 0) + 1}
