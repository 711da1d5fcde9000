"""What is known of the machine, configuration or run that is looked at: the evidence of every diagnosis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from creditree.config.schema import RunConfig
from creditree.doctor.completions import JudgedCompletion, groups_of
from creditree.doctor.host import Host
from creditree.doctor.room import MemoryFit
from creditree.errors import CreditreeError
from creditree.evaluate.legible import CurableSettings
from creditree.evaluate.summary import Summary
from creditree.ledger import Ledger
from creditree.models.shapes import Shape, shape_of
from creditree.models.texts import Texts
from creditree.problem import Problem
from creditree.runs.attempts import Attempt
from creditree.setup.build import build_prompt
from creditree.setup.grading import grading
from creditree.tasks.mixture import listed
from creditree.tasks.task import Task

Record = Mapping[str, Any]
"""The metrics record of a step."""
ASSUMED_CONTEXT = 1 << 20
"""Tokens of the context of a model whose shape is not known."""


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that diagnoses look at; None, or nothing, for what is not known.

    `host`: the machine;  `room`: what the run needs of its memory;  `task`, `texts`: problems, and the model's text
    side;  `records`, `completions`: of training steps, all and those that were kept;  `base`, `trained`: the first
    measurement before and after, with texts;  `adapter_size`: the largest number of the adapter's
    matrices B, which are zero in a fresh one;  `is_run`: it is a saved run, finished where it has a `summary`.
    """

    host: Host | None = None
    config: RunConfig | None = None
    room: MemoryFit | None = None
    task: Task | None = None
    texts: Texts | None = None
    records: Sequence[Record] = ()
    completions: Sequence[JudgedCompletion] = ()
    summary: Summary | None = None
    base: Sequence[Attempt] = ()
    trained: Sequence[Attempt] = ()
    adapter_size: float | None = None
    is_run: bool = False

    @cached_property
    def steps(self) -> tuple[Record, ...]:
        """The records of the method's own steps, without those of a warm start."""
        return tuple(record for record in self.records if not record.get("warm_start"))

    @cached_property
    def counts(self) -> Ledger:
        """What was counted in all steps."""
        return ledger_of(self.records[-1]) if self.records else Ledger()

    @property
    def judged(self) -> int:
        """Completions that got a reward."""
        return self.counts.completions - self.counts.failed_verdicts

    @cached_property
    def groups(self) -> tuple[tuple[JudgedCompletion, ...], ...]:
        """The kept groups of completions."""
        return tuple(groups_of(self.completions))

    @cached_property
    def training(self) -> tuple[Problem, ...]:
        """The training problems; none of a task that generates them without end."""
        return () if self.task is None else tuple(listed(self.task))

    @cached_property
    def measured(self) -> tuple[Problem, ...]:
        """The held-out problems that are measured before and after."""
        if self.task is None or self.config is None:
            return ()
        return self.task.held_out(self.config.evaluation.split, self.config.evaluation.problems)

    @cached_property
    def shape(self) -> Shape | None:
        """The shape of the base model, where it is known without asking the network."""
        try:
            return None if self.config is None else shape_of(self.config.model.name, offline=True)
        except CreditreeError:
            return None

    @cached_property
    def curable(self) -> CurableSettings | None:
        """The settings that cure completions which nobody can read."""
        if self.config is None:
            return None
        context = ASSUMED_CONTEXT if self.shape is None else self.shape.max_positions
        prompt = max((completion.prompt_tokens for completion in self.completions), default=0)
        grader = str(grading(self.config.reward).get("grader", ""))
        wording = build_prompt(self.config.task).first.text
        return CurableSettings(self.config.sampling.max_new_tokens, context - prompt, grader, wording)

    def texts_where(self, status: str = "", *, truncated: bool = False) -> list[str]:
        """Return the texts of kept completions that were judged so, or were cut off."""
        return [
            completion.attempt.text
            for completion in self.completions
            if (completion.attempt.truncated if truncated else completion.attempt.status == status)
        ]


def ledger_of(record: Record) -> Ledger:
    """Return the counts that a metrics record holds; those that an older one lacks are 0."""
    return Ledger(**{field.name: int(record.get(field.name) or 0) for field in fields(Ledger)})


def quarters(steps: Sequence[Record], least: int) -> tuple[Sequence[Record], Sequence[Record]] | None:
    """Return the first and the last quarter of some steps; None where a quarter has fewer than `least`."""
    size = len(steps) // 4
    return (steps[:size], steps[-size:]) if size >= least else None


def mean_of(steps: Sequence[Record], key: str) -> float | None:
    """Return the mean of a metric over the steps that have it; None where none has."""
    values = [float(record[key]) for record in steps if isinstance(record.get(key), int | float)]
    return sum(values) / len(values) if values else None
