"""Pools of difficulty: problems that are always or never solved rest for a while, the others are drawn every time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from creditree.piece import number
from creditree.problem import Problem
from creditree.schedule.base import Schedule, ScheduleState
from creditree.tree import Forest


@dataclass(frozen=True)
class Pools(Schedule):
    """A problem whose running pass rate is at most `hard` or at least `easy` is passed over `rest` times, then tried.

    The pass rate of a problem is that of its first completions (reward >= `threshold`): that of the first time, then
    moved by half the difference each time. A problem that was not seen yet is drawn. All that are drawn are trained on.
    The rule is ours. ``rest: 0`` is `fixed`. It takes a task whose problems come again: generated ones never do.
    """

    easy: float = number(1.0, "pass rate from which a problem rests", least=0, most=1)
    hard: float = number(0.0, "pass rate up to which a problem rests", least=0, most=1)
    rest: int = number(4, "times that such a problem is passed over before it is tried again", least=0)
    threshold: float = number(1.0, "reward from which a completion is a success")
    name: ClassVar[str] = "pools"
    paper: ClassVar[str] = "ours"

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run: `pools` has pass rate and rests left by problem."""
        return {"problems": problems_per_step, "pools": {}}

    def takes(self, problem: Problem, state: ScheduleState) -> tuple[bool, ScheduleState]:
        """Return whether a problem is drawn, and the state with one rest fewer where it is not."""
        rate, left = state["pools"].get(problem.id, (None, 0))
        if left == 0:
            return True, state
        return False, state | {"pools": state["pools"] | {problem.id: [rate, left - 1]}}

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return that all go on, and the state with their pass rates."""
        pools: dict[str, Any] = dict(state["pools"])
        for forest in forests:
            tree = forest[0]
            rewards = tree.rewards(tree.rewarded)
            if not len(rewards):
                continue
            now = float((rewards >= self.threshold).mean())
            before = pools.get(tree.problem.id, (None, 0))[0]
            rate = now if before is None else (before + now) / 2
            pools[tree.problem.id] = [rate, self.rest if rate <= self.hard or rate >= self.easy else 0]
        return [True] * len(forests), state | {"pools": pools}
