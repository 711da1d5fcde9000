"""What a training run is made of: its settings, and the parts that do the work."""

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from creditree.engines.engine import Engine, Sampling
from creditree.errors import ConfigError
from creditree.evaluate.prompt import prompt_ids
from creditree.learner.learner import Learner
from creditree.ledger import Seconds
from creditree.methods import Method
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.schedule.base import Schedule
from creditree.tasks.mixture import listed
from creditree.tasks.split import Split
from creditree.tasks.task import Task
from creditree.train.guard import Guard
from creditree.train.inputs import Inputs
from creditree.train.start import Start
from creditree.verify.verifier import Verifier

if TYPE_CHECKING:
    from creditree.train.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Validation:
    """Mean reward on `problems` held-out problems every `every` steps; 0 means never.

    The adapter with the best mean reward is kept (the first of equals). With `patience`, training stops after so many
    validations without a better one.
    """

    every: int = 0
    problems: int = 100
    temperature: float = 0.0
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class WarmStart:
    """`steps` supervised steps on the worked solutions of `problems` problems each, before the method's own steps.

    `learning_rate`: of these steps; None: that which the method begins with.
    """

    steps: int = 0
    problems: int = 8
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers of a run. `steps` are training steps of the method, which come after those of `warm_start`; the other
    limits, where set, end the run earlier.

    `checkpoint_every_s`: seconds between checkpoints, whatever the steps. `max_skipped` and `max_unjudged`: after so
    many steps in a row that are skipped because something is not finite, or in which nothing got a reward, it ends.

    `mini_batch`: about how many completions make one optimiser step (None: all of a training step).

    `cpu_seconds` counts this process's processor time in sampling, judging, exploring, credit and learning, not in
    measuring; `seconds` counts wall seconds of the same; `tokens` counts what the ledger calls sampled. The learning
    rate falls linearly from `learning_rate` to
    `final_learning_rate` times it, over whichever limit is nearest.
    """

    seed: int = 0
    steps: int = 100
    cpu_seconds: float | None = None
    seconds: float | None = None
    tokens: int | None = None
    problems_per_step: int = 1
    mini_batch: int | None = None
    learning_rate: float = 1e-4
    final_learning_rate: float = 1.0
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 300
    validation: Validation = field(default_factory=Validation)
    evaluation_split: Split = "test"
    evaluation_problems: int = 500
    evaluation_temperatures: tuple[float, ...] = (0.0, 0.3, 1.0)
    checkpoint_every: int = 100
    checkpoint_every_s: float = 60.0
    max_skipped: int = 5
    max_unjudged: int = 5
    rollouts_every: int = 10
    warm_start: WarmStart = WarmStart()

    @property
    def all_steps(self) -> int:
        """Steps of the run, the warm start's included."""
        return self.warm_start.steps + self.steps

    def own_step(self, step: int) -> int:
        """Return which step of the method comes after `step` steps of the run; below 0: one of the warm start."""
        return step - self.warm_start.steps

    def measured(self, task: Task) -> tuple[Problem, ...]:
        """Return the problems that are measured before and after. Raises DataError for an empty split."""
        return task.held_out(self.evaluation_split, self.evaluation_problems)

    def longest_completion(self, schedule: Schedule) -> int:
        """Return the most tokens that a completion may have in any step, by the schedule's stages or as configured."""
        return schedule.longest(self.steps, self.max_new_tokens)

    def progress(self, step: int, spent: Seconds, sampled: int = 0) -> float:
        """Return the share of the nearest limit that is used up, 1 or more at its end: steps, time, or tokens."""
        return max(self.own_step(step) / self.steps, self._spent(spent, sampled))

    def course(self, step: int, spent: Seconds, sampled: int = 0) -> float:
        """Return how far training is in a step, from 0 in the first to 1 in the last one, by the nearest limit."""
        return min(1.0, max(self.own_step(step) / max(1, self.steps - 1), self._spent(spent, sampled)))

    def learning_rate_at(self, step: int, spent: Seconds, sampled: int = 0) -> float:
        """Return the learning rate of a step, given how many are done and what they took."""
        if self.own_step(step) < 0 and self.warm_start.learning_rate is not None:
            return self.warm_start.learning_rate
        progress = min(1.0, max(0.0, self.progress(step, spent, sampled)))
        return self.learning_rate * (1.0 - (1.0 - self.final_learning_rate) * progress)

    def _spent(self, spent: Seconds, sampled: int) -> float:
        """Return the largest share of a limit other than the steps."""
        limits = ((self.cpu_seconds, spent.training_cpu), (self.seconds, spent.training_wall), (self.tokens, sampled))
        return max((used / limit for limit, used in limits if limit is not None), default=0.0)


class Helpers(Protocol):
    """Processes that do for this one what takes long."""

    @property
    def cpu_s(self) -> float:
        """Processor seconds that they have worked so far."""
        ...

    def rollout(self, here: "Rollout") -> "Rollout":
        """Return what explores with their help, and otherwise as `here`."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """The machines of a run, ready to work.

    `start`: what the learner goes on from, None for a fresh adapter;  `guard`: problems that must not get worse;
    `inputs`: digests of all that the run depends on (None: not asked for);  `helpers`: processes that explore for this
    one (None: it does it alone).
    """

    model: Model
    learner: Learner
    engine: Engine
    task: Task
    verifier: Verifier
    method: Method
    start: Start | None = None
    guard: Guard | None = None
    inputs: Inputs | None = None
    helpers: Helpers | None = None

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Every verifier once: who uses the parts closes them (`verify.closing`)."""
        other = self.guard is not None and self.guard.verifier is not self.verifier
        return (self.verifier, self.guard.verifier) if other and self.guard is not None else (self.verifier,)


def check_context(parts: Parts, settings: Settings) -> None:
    """Raise ConfigError if a prompt and a whole completion do not fit the model's context.

    Looks at every training problem of a finite task, and at the held-out problems that are measured. Raises DataError
    for a split that is needed and empty.
    """
    task, limit = parts.task, parts.model.network.max_positions
    longest = settings.longest_completion(parts.method.schedule)
    if parts.guard is not None:
        parts.guard.check(parts.model, longest)
    measured = settings.measured(task)
    if settings.validation.every > 0:
        measured += task.held_out("validation", settings.validation.problems)
    wording: dict[str, int] = {}
    for problem in chain(measured, listed(task)):
        fixed = wording.get(problem.task)
        if fixed is not None and fixed + _most_tokens(task.prompt.render(problem)) + longest <= limit:
            continue
        prompt = len(prompt_ids(task.prompt, problem, parts.model))
        wording.setdefault(problem.task, prompt)  # more than the wording around a question takes
        if prompt + longest > limit:
            raise ConfigError(
                f"a prompt of {prompt} tokens (problem '{problem.id}') and sampling.max_new_tokens "
                f"{longest} exceed the context of {limit} tokens of model '{parts.model.name}'; "
                "lower sampling.max_new_tokens or shorten the prompt."
            )


def _most_tokens(text: str) -> int:
    """Return how many tokens a text may have: one for each byte, with what normalising adds where it is no ASCII."""
    return len(text) if text.isascii() else _EXPANDED * len(text)


_EXPANDED = 36
"""Bytes that one character may become: 18 characters (U+FDFA, by NFKC) of two bytes."""
