"""Dynamic sampling: draw until enough problems have completions of different rewards (DAPO, arXiv 2503.14476)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from creditree.errors import check_least
from creditree.schedule.mixed import is_mixed
from creditree.schedule.base import ScheduleState
from creditree.schedule.stages import Staged
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class Dynamic(Staged):
    """Train on problems with mixed rewards only, and draw more until there are enough, or `draw_limit` times as many.

    What is missing is drawn divided by the share that was of use so far, so a step may end with a few more than asked
    for; all of them are trained on.
    """

    draw_limit: float = 4.0
    name: ClassVar[str] = "dynamic"

    def __post_init__(self) -> None:
        Staged.__post_init__(self)
        check_least("method.draw_limit", self.draw_limit, 1)

    @property
    def off_policy(self) -> bool:
        """Never: how many more to draw is known only when a step's problems are finished."""
        return False

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run."""
        return {"problems": problems_per_step}

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw first."""
        return int(state["problems"])

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return that all go on."""
        return [True] * len(forests), state

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which problems have completions of different rewards."""
        return [is_mixed(forest) for forest in forests]

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return how many problems more to draw; 0 where enough are mixed, or the limit is reached."""
        wanted = self.num_problems(state)
        left = int(self.draw_limit * wanted) - drawn
        if trained >= wanted or left <= 0:
            return 0
        return min(left, ceil((wanted - trained) * drawn / trained) if trained else wanted)

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the same state."""
        return state
