"""AttnRL's adaptive sampling: which problems are worth expanding, and how many to draw (arXiv 2509.26628, 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import ClassVar, Literal, Self

from creditree.demand import ASSUMED_GROWTH, Problems
from creditree.errors import ConfigError
from creditree.influence import mean_influence
from creditree.piece import again, fitted, number
from creditree.schedule.base import Schedule, ScheduleState
from creditree.schedule.batch_size import BatchRounding, next_batch_size
from creditree.schedule.fixed import Fixed
from creditree.schedule.mixed import is_mixed, is_mixed_where_forked
from creditree.steps import Separators
from creditree.tree import Forest

EasyFilter = Literal["influence", "hard", "none"]
ZeroFilter = Literal["forked", "all", "none"]


@dataclass(frozen=True)
class Adaptive(Schedule):
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

    easy_filter: EasyFilter = number("influence", "which problems with only correct first completions are not expanded")
    influence_decay: float | None = number(None, "of the running mean; none: the mean of all", least=0, below=1)
    zero_filter: ZeroFilter = number(
        "forked", "problems are dropped whose completions (those that were forked) have one reward"
    )
    rows_per_problem: int | None = number(
        None, "completions to train on, a configured problem; none: all of a tree", least=1
    )
    batch_decay: float = number(0.9, "inertia of the number of problems; 1: fixed", least=0, most=1)
    batch_rounding: BatchRounding = number("ceil", "how the number of problems is rounded")
    batch_least: float | None = number(None, "at least this times train.problems_per_step; none: no bound")
    batch_most: float | None = number(None, "at most this times train.problems_per_step; none: no bound")
    threshold: float = number(1.0, "reward from which a completion is a success")
    off_policy: bool = again(Fixed, "off_policy", True)
    separators: Separators = fitted(Separators())
    name: ClassVar[str] = "adaptive"
    paper: ClassVar[str] = "arXiv 2509.26628"

    def __post_init__(self) -> None:
        super().__post_init__()
        least, most = self.batch_least, self.batch_most
        if not (least is None or 0.0 < least <= 1.0) or not (most is None or most >= 1.0):
            raise ConfigError(
                f"method.batch_least is {self.batch_least} and method.batch_most is {self.batch_most}: they multiply "
                "the configured number of problems, so set the first above 0 and at most 1, the second 1 or more."
            )

    @property
    def needs_influence(self) -> str | None:
        """Why the easy filter takes it."""
        if self.easy_filter != "influence":
            return None
        return (
            "method.easy_filter 'influence' looks at the influence of steps; use explore: attention, or set "
            "easy_filter: hard or none"
        )

    def demand(self, problems: int) -> Problems:
        """Return the bound of the batch; an assumed one where there is none."""
        assumed = self.batch_most is None
        if self.batch_decay == 1.0:
            return Problems(problems, assumed)
        return Problems(int((self.batch_most or ASSUMED_GROWTH) * problems), assumed)

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

    def expands(self, forests: Sequence[Forest], state: ScheduleState) -> tuple[list[bool], ScheduleState]:
        """Return which problems go on, and the state with the running mean and the counts of this batch.

        Raises ConfigError where the filter needs the influence of steps and the explorer did not ask for it.
        """
        easy = [self._is_easy(forest) for forest in forests]
        mean, count = float(state["influence_mean"]), int(state["influence_count"])
        goes_on = [not is_easy or self.easy_filter == "none" for is_easy in easy]
        if self.easy_filter == "influence":
            influence = {i: self._influence(forest) for i, forest in enumerate(forests) if easy[i]}
            for value in influence.values():
                count += 1
                weight = 1.0 / count if self.influence_decay is None or count == 1 else 1.0 - self.influence_decay
                mean += weight * (value - mean)
            goes_on = [not is_easy or influence[i] > mean for i, is_easy in enumerate(easy)]
        counts = {"expanded": sum(goes_on), "all_correct": sum(easy), "filtered": len(forests) - sum(goes_on)}
        return goes_on, state | {"influence_mean": mean, "influence_count": count} | counts

    def trains(self, forests: Sequence[Forest]) -> list[bool]:
        """Return which finished problems reach the learner."""
        if self.zero_filter == "none":
            return [True] * len(forests)
        return [is_mixed_where_forked(f) if self.zero_filter == "forked" else is_mixed(f) for f in forests]

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
