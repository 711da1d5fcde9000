"""A training run of seconds: a tiny random model, sums as problems, and a verifier that follows a script."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.explore.replay import Replay
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import METHODS, Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.problem import Problem, Verdict
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.tasks.split import Split
from creditree.tasks.task import PromptTemplate, Task
from creditree.train.settings import Parts, Settings
from creditree.train.trainer import Trainer
from creditree.verify.verifier import Answer, Verifier
from tests.tiny_models import tiny

T_SPMO = Method(
    "t-spmo",
    "",
    Replay(6, 1, 1),
    METHODS["t-spmo"]().credit,
    METHODS["t-spmo"]().select,
    METHODS["t-spmo"]().objective,
)
SETTINGS = Settings(
    steps=6,
    problems_per_step=2,
    learning_rate=1e-2,
    sampling=Sampling(0.7),
    max_new_tokens=8,
    evaluation_problems=4,
    evaluation_temperatures=(0.0,),
    checkpoint_every=100,
    rollouts_every=0,
)


@dataclass(frozen=True, slots=True)
class Sums:
    """A fake task: sums, told apart by their ids."""

    name: str = "sums"
    prompt: PromptTemplate = PromptTemplate()
    num_training: int | None = None
    notes: tuple[str, ...] = ()

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem."""
        a, b = (key.at("sum", index, side).integer(0, 99) for side in (0, 1))
        return Problem(f"training-{index}", f"{a}+{b}=", (str(a + b),))

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return problems named after their split."""
        return tuple(Problem(f"{split}-{n}", f"{n}+{n}=", (str(2 * n),)) for n in range(limit or 5))


SUMS = Sums()


@dataclass(frozen=True)
class Solved(Sums):
    """The same, each with a worked solution."""

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem."""
        problem = super().training(key, index)
        return replace(problem, solution=f"{problem.question}{problem.answers[0]}")


@dataclass(slots=True)
class Scripted(Verifier):
    """A fake verifier: training by the text's parity, the n-th validation as `accuracies` has it."""

    accuracies: Sequence[float] = ()
    training: Callable[[str], float | None] = lambda text: float(sum(map(ord, text)) % 2)
    validations: int = 0

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Judge by the script."""
        if answers[0].problem.id.startswith("validation"):
            share = self.accuracies[self.validations]
            self.validations += 1
            return tuple(Verdict(float(n < share * len(answers))) for n in range(len(answers)))
        rewards = [self.training(answer.completion) for answer in answers]
        return tuple(Verdict(r, "crash" if r is None else "ok", "lost" if r is None else "") for r in rewards)


@dataclass(slots=True)
class Notes(Watcher):
    """A watcher that keeps what it is shown, the adapter after each step, and calls back."""

    learner: Learner
    after: Callable[[int], None] = lambda step: None
    records: list[Mapping[str, object]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    adapters: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def update(self, record: Mapping[str, object]) -> None:
        """Keep a record."""
        step = record["step"]
        assert isinstance(step, int)
        self.records.append(record)
        self.adapters[step] = self.learner.trained.state()
        self.after(step)

    def message(self, text: str) -> None:
        """Keep a sentence."""
        self.messages.append(text)


def parts_of(verifier: Scripted | None = None, method: Method = T_SPMO, task: Task = SUMS) -> Parts:
    model = tiny("qwen2", torch.float32)
    adapter = Adapter(model, LoraSpec(rank=2, layers=0.5), Key.of(0))
    learner = Learner(adapter, method.objective, OptimiserSpec(1e-2, micro_batch_tokens=16))
    return Parts(model, learner, InProcessEngine(model), task, verifier or Scripted(), method)


def trainer_of(
    path: Path,
    settings: Settings = SETTINGS,
    verifier: Scripted | None = None,
    method: Method = T_SPMO,
    task: Task = SUMS,
) -> tuple[Trainer, Notes]:
    """Return a trainer over a new run directory, and its watcher."""
    parts = parts_of(verifier, method, task)
    notes = Notes(parts.learner)
    return Trainer(parts, settings, RunDirectory.create(path, "seed: 0\n"), notes), notes


def resumed(
    path: Path,
    settings: Settings = SETTINGS,
    verifier: Scripted | None = None,
    method: Method = T_SPMO,
    task: Task = SUMS,
) -> tuple[Trainer, Notes]:
    """Return a trainer that goes on with a run from its last checkpoint, as a new process does, and its watcher."""
    parts = parts_of(verifier, method, task)
    notes = Notes(parts.learner)
    trainer = Trainer(parts, settings, RunDirectory.resume(path, "seed: 0\n"), notes)
    trainer.restore()
    return trainer, notes


def assert_same_end(again: Trainer, whole: Trainer) -> None:
    """Train a resumed run to its end, and assert that it has become the run that was never stopped."""
    again.train()
    assert same(again.parts.learner.trained.state(), whole.parts.learner.trained.state())
    assert again.state.ledger == whole.state.ledger


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
