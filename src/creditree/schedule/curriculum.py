"""A curriculum: easy problems first, by a column that says how hard they are (Bengio et al., ICML 2009)."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import ClassVar, Self

from creditree.demand import Problems
from creditree.errors import ConfigError, DataError, did_you_mean
from creditree.piece import fitted, number
from creditree.problem import Problem
from creditree.schedule.base import Schedule, ScheduleState
from creditree.text import shown

ROUNDING = 1e-9
"""A rank that is the open share but for rounding is not below it."""


@dataclass(frozen=True)
class Curriculum(Schedule):
    """Problems of rank r < b are drawn, r the share of all training problems that are easier, others passed over.

    `column` holds a number, or one of the words of `order`, from easy to hard. The share b that is open grows linearly,
    from `open_first` in the first step to 1 after `over` steps:

        b = open_first + (1 - open_first) min(1, n / over)     after n steps.

    The easiest have r = 0 and are always drawn; those of equal difficulty come together. That b grows linearly is ours.
    With open_first 1 it is `fixed`. It takes a task whose problems have such a column.
    """

    column: str = number("difficulty", "column of the problems that says how hard they are")
    order: tuple[str, ...] = number((), "values of the column, from easy to hard; none: it holds numbers")
    open_first: float = number(0.2, "share of the problems that is drawn from in the first step", above=0, most=1)
    over: int = number(100, "steps until all problems are drawn from", least=1)
    levels: tuple[float, ...] = fitted(())
    name: ClassVar[str] = "curriculum"
    paper: ClassVar[str] = "Bengio et al., ICML 2009"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.column or len(set(self.order)) < len(self.order):
            raise ConfigError(
                f"method.order is {list(self.order)} and method.column is '{self.column}': name a column, and each of "
                "its values once."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of difficulty."""
        return (self.column,)

    def of_problems(self, problems: Sequence[Problem]) -> Self:
        """Return this schedule with the difficulties of all training problems, sorted."""
        return replace(self, levels=tuple(sorted(map(self.level, problems))))

    def demand(self, problems: int) -> Problems:
        """Return as many as are configured."""
        return Problems(problems)

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run: `open`, the share b, and `steps` that were made."""
        return {"problems": problems_per_step, "open": self.open_first, "steps": 0}

    def takes(self, problem: Problem, state: ScheduleState) -> tuple[bool, ScheduleState]:
        """Return whether a problem's rank is open."""
        rank = bisect_left(self.levels, self.level(problem)) / max(1, len(self.levels))
        return rank < float(state["open"]) - ROUNDING, state

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the state with the share of the next step."""
        steps = int(state["steps"]) + 1
        return state | {"steps": steps, "open": self.open_first + (1.0 - self.open_first) * min(1.0, steps / self.over)}

    def level(self, problem: Problem) -> float:
        """Return how hard a problem is. Raises DataError for a value that does not say."""
        value = problem.columns.get(self.column)
        if self.order:
            if str(value) in self.order:
                return float(self.order.index(str(value)))
            raise DataError(
                f"Problem '{problem.id}' has {shown(value)} in column '{self.column}', which method.order does not "
                f"name: add it there, or drop the row.{did_you_mean(str(value), self.order)}"
            )
        try:
            level = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        except ValueError:
            level = None
        if level is None or not isfinite(level):
            raise DataError(
                f"Problem '{problem.id}' has {shown(value)} in column '{self.column}', which is no number: fill it, or "
                "name the column's values from easy to hard with method.order."
            )
        return level
