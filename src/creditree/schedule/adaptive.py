"""AttnRL's adaptive sampling: which problems are worth expanding, and how many to draw (arXiv 2509.26628, 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import ClassVar, Literal, Self, get_args

from creditree.errors import ConfigError, check_choice, check_fraction, check_least
from creditree.influence import mean_influence
from creditree.schedule.batch_size import BatchRounding, next_batch_size
from creditree.schedule.mixed import is_mixed, is_mixed_where_forked
from creditree.schedule.base import ScheduleState
from creditree.schedule.stages import Staged
from creditree.steps import Separators
from creditree.tree import Forest

EasyFilter = Literal["influence", "hard", "none"]
ZeroFilter = Literal["forked", "all", "none"]


@dataclass(frozen=True, slots=True)
class Adaptive(Staged):
    """Filters for problems that teach nothing, and a number of problems that makes up for them.

    `easy_filter`, on problems whose first completions are all correct (reward >= `threshold`): ``influence`` expands
    one only if its mean influence (`creditree.influence.mean_influence`) is above the running mean of such problems,
    this batch included; ``hard`` expands none; ``none`` expands all. `influence_decay`: the running mean is that of all
    such problems since the first step (None: the authors' code), or moves towards each with weight 1 - decay.
    `zero_filter` drops a problem whose completions all have the same reward: only those that share tokens with others
    count (``forked``: the authors' code, which trains on no other), or ``all``; ``none`` drops nothing. Problems are
    told apart by their forests, so one that is drawn twice is two.
    `batch_decay`, `batch_rounding`: of `next_batch_size`, whose target is `rows_per_problem` (None: all completions of
    a tree, 30 for the papers') times the configured number of problems; `batch_least` and `batch_most` times that
    number are its bounds (None, as in paper and code: there is none). Decay 1 keeps it fixed.
    `off_policy`: the first round of the next problems shares an engine call with the later rounds of these.
    """

    easy_filter: EasyFilter = "influence"
    influence_decay: float | None = None
    zero_filter: ZeroFilter = "forked"
    rows_per_problem: int | None = None
    batch_decay: float = 0.9
    batch_rounding: BatchRounding = "ceil"
    batch_least: float | None = None
    batch_most: float | None = None
    threshold: float = 1.0
    off_policy: bool = True
    separators: Separators = field(default=Separators(), kw_only=True, repr=False, metadata={"fitted": True})
    name: ClassVar[str] = "adaptive"

    def __post_init__(self) -> None:
        Staged.__post_init__(self)
        check_choice("method.easy_filter", self.easy_filter, get_args(EasyFilter))
        check_choice("method.zero_filter", self.zero_filter, get_args(ZeroFilter))
        check_choice("method.batch_rounding", self.batch_rounding, get_args(BatchRounding))
        check_least("method.rows_per_problem", 1 if self.rows_per_problem is None else self.rows_per_problem, 1)
        check_fraction("method.batch_decay", self.batch_decay)
        if self.influence_decay is not None and not 0.0 <= self.influence_decay < 1.0:
            raise ConfigError(f"method.influence_decay is {self.influence_decay}: it must be at least 0 and below 1.")
        least, most = self.batch_least, self.batch_most
        if not (least is None or 0.0 < least <= 1.0) or not (most is None or most >= 1.0):
            raise ConfigError(
                f"method.batch_least is {self.batch_least} and method.batch_most is {self.batch_most}: they multiply "
                "the configured number of problems, so set the first above 0 and at most 1, the second 1 or more."
            )

    def fitted(self, separators: Separators) -> Self:
        """Return this schedule with the separators of the tokenizer at hand."""
        return replace(self, separators=separators)

    def start(self, problems_per_step: int, completions: int = 1) -> ScheduleState:
        """Return the state of a fresh run.

        `problems` to draw next, `nominal` as configured, `rows` of the last update, `target` the rows that are wanted;
        `influence_mean` of the `influence_count` all-correct problems so far;  of the last batch: `expanded`,
        `all_correct`, and of these `filtered`, which were not expanded.
        """
        return {
            "problems": problems_per_step,
            "nominal": problems_per_step,
            "rows": 0,
            "target": problems_per_step * (completions if self.rows_per_problem is None else self.rows_per_problem),
            "influence_mean": 0.0,
            "influence_count": 0,
            "expanded": 0,
            "all_correct": 0,
            "filtered": 0,
        }

    def num_problems(self, state: ScheduleState) -> int:
        """Return how many problems to draw next."""
        return int(state["problems"])

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return which problems go on, and the state with the running mean and the counts of this batch.

        Raises ConfigError where the filter needs the influence of steps and the explorer did not ask for it.
        """
        easy = [self._is_easy(forest) for forest in forests]
        mean, count = float(state["influence_mean"]), int(state["influence_count"])
        goes_on = [not one or self.easy_filter == "none" for one in easy]
        if self.easy_filter == "influence":
            found = {i: self._influence(forest) for i, forest in enumerate(forests) if easy[i]}
            for value in found.values():
                count += 1
                weight = 1.0 / count if self.influence_decay is None or count == 1 else 1.0 - self.influence_decay
                mean += weight * (value - mean)
            goes_on = [not one or found[i] > mean for i, one in enumerate(easy)]
        counts = {"expanded": sum(goes_on), "all_correct": sum(easy), "filtered": len(forests) - sum(goes_on)}
        return goes_on, state | {"influence_mean": mean, "influence_count": count} | counts

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which finished problems reach the learner."""
        if self.zero_filter == "none":
            return [True] * len(forests)
        return [is_mixed_where_forked(f) if self.zero_filter == "forked" else is_mixed(f) for f in forests]

    def missing(self, trained: int, drawn: int, state: ScheduleState) -> int:
        """Return 0: later batches make up for what this one lacks."""
        return 0

    def after(self, state: ScheduleState, rows: int) -> ScheduleState:
        """Return the state with the number of problems that the completions just trained on suggest."""
        nominal = int(state["nominal"])
        problems = int(state["problems"])
        if self.batch_decay < 1.0:
            problems = next_batch_size(
                problems,
                rows,
                int(state["target"]),
                decay=self.batch_decay,
                rounding=self.batch_rounding,
                least=1 if self.batch_least is None else ceil(self.batch_least * nominal),
                most=None if self.batch_most is None else floor(self.batch_most * nominal),
            )
        return state | {"problems": problems, "rows": rows}

    def _is_easy(self, forest: Forest) -> bool:
        tree = forest[0]
        return bool(tree.rewarded) and bool((tree.rewards(tree.rewarded) >= self.threshold).all())

    def _influence(self, forest: Forest) -> float:
        tree = forest[0]
        value = mean_influence(tree, tree.leaves, self.separators)
        if value is None:
            raise ConfigError(
                "method.easy_filter 'influence' needs the influence of steps, which method.explore does not ask the "
                "engine for; use explore: attention, or set easy_filter: hard or none."
            )
        return value
