"""What a schedule is: how many problems are drawn, which are dropped, and how long a completion may be."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any, ClassVar

from creditree.demand import ASSUMED_GROWTH, Problems
from creditree.errors import ConfigError
from creditree.piece import Piece, number
from creditree.problem import Problem
from creditree.tree import Forest

ScheduleState = dict[str, Any]
"""What a schedule remembers from step to step: numbers by name, as JSON can hold them; so a run resumes exactly."""

Stage = tuple[int, int]
"""Training step (from 0) from which on a completion may have so many tokens."""


@dataclass(frozen=True)
class Schedule(Piece):
    """Draw the same number of problems every step and drop none; a schedule changes of this what it wants.

    Pure: whatever it remembers is in the state that it is handed and returns. `stages`: lengths of a completion by
    training step (DeepScaleR: 8K, then 16K, then 24K tokens); before the first stage the configured length holds.
    `is_plain`: whether it neither drops problems nor draws more than are configured.
    """

    _: KW_ONLY
    stages: tuple[Stage, ...] = number(
        (), "lengths [step, tokens]: from that step on, a completion has at most these tokens"
    )
    axis: ClassVar[str] = "schedule"
    is_plain: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range, and for stages out of order."""
        super().__post_init__()
        shown = list(map(list, self.stages))
        if any(step < 0 or tokens < 1 for step, tokens in self.stages):
            raise ConfigError(
                f"method.stages is {shown}: each stage is [step, tokens], the step 0 or more and the tokens 1 or more."
            )
        if any(later[0] <= earlier[0] for earlier, later in pairwise(self.stages)):
            raise ConfigError(
                f"method.stages is {shown}: each stage must start at a later step than the one before it."
            )

    @property
    def off_policy(self) -> bool:
        """Whether the first round of the next problems shares an engine call with the later rounds of these."""
        return False

    @property
    def needs_influence(self) -> str | None:
        """Why it takes the influence of steps, cause and cure; None, unless a schedule says so."""
        return None

    @property
    def looks_early(self) -> bool:
        """Whether it may end problems after their first round."""
        return type(self).expands is not Schedule.expands

    def demand(self, problems: int) -> Problems:
        """Return how many problems a step has at most where `problems` are configured.

        A schedule that draws other numbers and does not say how many at most is taken to draw 4 times as many.
        """
        kind = type(self)
        same = all(getattr(kind, name) is getattr(Schedule, name) for name in ("num_problems", "missing", "after"))
        return Problems(problems) if same else Problems(int(ASSUMED_GROWTH * problems), assumed=True)

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run; `completions`: what the explorer samples of a problem, at most."""
        return {"problems": problems_per_step}

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next."""
        return int(state["problems"])

    def takes(self, problem: Problem, state: ScheduleState) -> tuple[bool, ScheduleState]:
        """Return whether to draw a problem whose turn it is, or to pass it over: all are drawn."""
        return True, state

    def max_new_tokens(self, step: int, configured: int) -> int:
        """Return how long a completion may be at training step `step` (from 0)."""
        return next((tokens for start, tokens in reversed(self.stages) if step >= start), configured)

    def longest(self, steps: int, configured: int) -> int:
        """Return the most tokens that a completion may have in any of `steps` steps, or as configured.

        Lengths change where a stage starts; a schedule that has lengths of its own is asked for every step.
        """
        own = type(self).max_new_tokens is not Schedule.max_new_tokens
        looked_at = range(steps) if own else [0, *(start for start, _ in self.stages if start < steps)]
        return max(configured, *(self.max_new_tokens(step, configured) for step in looked_at))

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return which problems go on after their first round; the others end there and are not trained on."""
        return [True] * len(forests), state

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which finished problems reach the learner."""
        return [True] * len(forests)

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return how many problems more to draw for this step, given how many of those drawn can be trained on."""
        return 0

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the state after an update on `rows` completions."""
        return state
