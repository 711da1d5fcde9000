"""Dynamic sampling: draw until enough problems have completions of different rewards (DAPO, arXiv 2503.14476)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from creditree.demand import Problems
from creditree.piece import number
from creditree.schedule.base import Schedule, ScheduleState
from creditree.schedule.mixed import is_mixed
from creditree.tree import Forest


@dataclass(frozen=True)
class Dynamic(Schedule):
    """Train on problems with mixed rewards only, and draw more until there are enough, or `draw_limit` times as many.

    What is missing is drawn divided by the share that was of use so far, so a step may end with a few more than asked
    for; all of them are trained on.
    """

    draw_limit: float = number(4.0, "draw at most this times train.problems_per_step", least=1)
    name: ClassVar[str] = "dynamic"
    paper: ClassVar[str] = "arXiv 2503.14476"

    def demand(self, problems: int) -> Problems:
        """Return the limit."""
        return Problems(int(self.draw_limit * problems))

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
