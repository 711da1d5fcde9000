"""A fixed number of problems a step, all of them expanded and trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from creditree.schedule.base import ScheduleState
from creditree.schedule.stages import Staged
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class Fixed(Staged):
    """Draw the same number of problems every step and drop none.

    `off_policy`: the first round of the next problems shares an engine call with the later rounds of these (AttnRL's
    pipeline, arXiv 2509.26628 section 3.4).
    """

    off_policy: bool = False
    name: ClassVar[str] = "fixed"

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run."""
        return {"problems": problems_per_step}

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next: always the same."""
        return int(state["problems"])

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return that all go on."""
        return [True] * len(forests), state

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return that all reach the learner."""
        return [True] * len(forests)

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return 0: what was drawn is enough."""
        return 0

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the same state."""
        return state
