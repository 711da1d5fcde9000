"""What a schedule is: how many problems are drawn, which are dropped, and how long a completion may be."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

from creditree.steps import Separators
from creditree.tree import Forest

ScheduleState = dict[str, Any]
"""What a schedule remembers from step to step: numbers by name, as JSON can hold them; so a run resumes exactly."""


class Schedule(Protocol):
    """Pure: whatever it remembers is in the state that it is handed and returns."""

    name: ClassVar[str]

    @property
    def off_policy(self) -> bool:
        """Whether the first round of the next problems shares an engine call with the later rounds of these."""
        ...

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run; `completions`: what the explorer samples of a problem, at most."""
        ...

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next."""
        ...

    def max_new_tokens(self, step: int, configured: int) -> int:
        """Return how long a completion may be at training step `step` (from 0)."""
        ...

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return which problems go on after their first round; the others end there and are not trained on."""
        ...

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which finished problems reach the learner."""
        ...

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return how many problems more to draw for this step, given how many of those drawn can be trained on."""
        ...

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the state after an update on `rows` completions."""
        ...

    def fitted(self, separators: Separators) -> Self:
        """Return this schedule with the separators of the tokenizer at hand, where it looks at steps."""
        ...
