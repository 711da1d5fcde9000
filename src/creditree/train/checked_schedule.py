"""A schedule as the pipeline asks it: whatever somebody's own answers is looked at before a step goes by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from creditree.problem import Problem
from creditree.returned import Returned
from creditree.schedule.base import Schedule, ScheduleState
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class CheckedSchedule:
    """The functions of `schedule`; each raises ConfigError for an answer that is none."""

    schedule: Schedule

    def start(self, problems_per_step: int, completions: int) -> ScheduleState:
        """Return the state of a fresh run."""
        return self._of("start", self.schedule.start(problems_per_step, completions)).state()

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next, 1 or more."""
        return self._of("num_problems", self.schedule.num_problems(state)).whole(1)

    def max_new_tokens(self, step: int, configured: int) -> int:
        """Return how long a completion may be, 1 or more."""
        return self._of("max_new_tokens", self.schedule.max_new_tokens(step, configured)).whole(1)

    def takes(self, problem: Problem, state: ScheduleState) -> tuple[bool, ScheduleState]:
        """Return whether to draw a problem."""
        takes, after = self._pair("takes", self.schedule.takes(problem, state), "whether to draw it")
        return bool(takes), self._of("takes", after).state()

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return which problems go on after their first round."""
        goes_on, after = self._pair("expands", self.schedule.expands(forests, state), "which problems go on")
        flags = self._of("expands", goes_on).flags(len(forests), "problems")
        return flags.tolist(), self._of("expands", after).state()

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which finished problems reach the learner."""
        flags: list[bool] = self._of("trains", self.schedule.trains(forests)).flags(len(forests), "problems").tolist()
        return flags

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return how many problems more to draw, 0 or more."""
        return self._of("missing", self.schedule.missing(trained, drawn, state)).whole(0)

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the state after an update."""
        return self._of("after", self.schedule.after(state, rows)).state()

    def _of(self, function: str, value: Any) -> Returned:
        return Returned(self.schedule, function, value)

    def _pair(self, function: str, value: Any, first: str) -> Sequence[Any]:
        return self._of(function, value).items(2, f"a pair: {first}, and the state")
