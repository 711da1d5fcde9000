"""What a run depends on besides its configuration, as digests: a continued run is the same, or says why not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path

import torch

from creditree.disk import is_file
from creditree.errors import ModelError, RunError
from creditree.models.digest import weights_digest
from creditree.models.gguf import source_sha256
from creditree.models.load import Model
from creditree.models.quantise import QUANTISATIONS
from creditree.problem import Problem, fingerprint
from creditree.rng import Key
from creditree.runs.checksums import Checksums
from creditree.runs.directory import RunDirectory
from creditree.runs.records import object_of, read_bytes, record_of
from creditree.tasks.mixture import Mixture
from creditree.tasks.table import Table
from creditree.tasks.task import Task

INPUTS = "inputs.json"
BASE = "base.json"
"""In the folder of what was trained: which base model it belongs to."""
_UNKNOWN = "remove it to go on without knowing whether problems, reward and weights are those that the run began with"


@dataclass(frozen=True, slots=True)
class BaseDigests:
    """A base model: its name, the precision that it is held in, and the sha256 of its weights in that precision.

    `gguf`: the sha256 of the GGUF file that it came from, weights, tokenizer and chat template in one; None: from none.
    """

    name: str
    dtype: str
    sha256: str
    gguf: str | None = None

    @classmethod
    def of(cls, model: Model, dtype: str) -> "BaseDigests":
        """Return what stands for a model that was just loaded. Every weight is read."""
        return cls(model.name, dtype, weights_digest(model.network), source_sha256(model.name))

    @classmethod
    def of_files(cls, name: str, model: torch.nn.Module, dtype: str) -> "BaseDigests":
        """Return the same for a model that is held as its files are, or quantised as a run holds it."""
        as_run = None if dtype in QUANTISATIONS else getattr(torch, dtype)
        return cls(name, dtype, weights_digest(model, as_run), source_sha256(name))

    def to_json(self) -> dict[str, str]:
        """Return it for a record; what there is none of is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def difference(self, held: "BaseDigests") -> str | None:
        """Return what is not as it was held, in words that a sentence goes on with, or None.

        Weights in another precision have another digest, and are not compared. The file is, where both have one.
        """
        if held.dtype == self.dtype and held.sha256 != self.sha256:
            return f"has other weights than {{}} (sha256 {_short(held.sha256)} then, {_short(self.sha256)} now)"
        if held.gguf is not None and self.gguf is not None and held.gguf != self.gguf:
            return f"is another GGUF file than {{}} (sha256 {_short(held.gguf)} then, {_short(self.gguf)} now)"
        return None

    def check(self, trained: Path) -> None:
        """Raise ModelError where what lies in a folder was trained on other weights, as far as that can be told.

        It cannot where the folder does not say, or says it of another precision.
        """
        if not is_file(trained / BASE):
            return
        cure = "restore it, or remove it to go on without knowing whether the base model is the same"
        recorded = record_of(
            BaseDigests, object_of(read_bytes(trained / BASE, cure), trained / BASE, cure), trained / BASE, cure
        )
        difference = self.difference(recorded)
        if difference is not None:
            words = difference.format(f"the base that '{trained}' was trained on")
            raise ModelError(
                f"model '{self.name}' {words}; put back what it was, or say where it lies with model.name."
            )


@dataclass(frozen=True, slots=True)
class Inputs:
    """Sha256 of problems in their order, of reward code and base weights, and the engine that samples.

    None: there is none, or it has no end (problems that are generated: the configuration says which). `pieces`: of the
    method that are somebody's own code, the sha256 of each file by where it lies. `read`: of what is read of training
    problems besides question and answers: worked solutions, and columns of theirs.
    """

    training: str | None
    measured: str | None
    validation: str | None
    guard: str | None
    reward: str | None
    guard_reward: str | None
    base: BaseDigests
    engine: str
    pieces: dict[str, str | None] = field(default_factory=dict)
    read: str | None = None

    def record(self, run: RunDirectory, tell: Callable[[str], None]) -> None:
        """Write it into a run that begins; compare it with that of a run that goes on.

        Raises RunError for what differs, but for the engine: that is told and kept in the run's notes.
        """
        if not run.has(INPUTS):
            if not run.is_new:
                self._note(run, tell, f"{run.path / INPUTS} was missing: what the run began with is not known.")
            run.write_json(INPUTS, asdict(self))
            return
        recorded = record_of(Inputs, _held(run), run.path / INPUTS, _UNKNOWN)
        for name, words in _WORDS.items():
            before, now = getattr(recorded, name), getattr(self, name)
            if before != now:
                raise RunError(
                    f"{words} of run {run.path} changed since it was started (sha256 {_short(before)} then, "
                    f"{_short(now)} now); put back what was there, or train in another run directory."
                )
        for place, now in self.pieces.items():
            before = recorded.pieces.get(place, now)
            if before != now:
                raise RunError(
                    f"The file of the piece {place} changed since run {run.path} was started (sha256 {_short(before)} "
                    f"then, {_short(now)} now); put back what was there, or train in another run directory."
                )
        difference = self.base.difference(recorded.base)
        if difference is not None:
            words = difference.format(f"when run {run.path} was started")
            raise RunError(
                f"The base model '{self.base.name}' {words}; put back what it was, or train in another run directory."
            )
        if recorded.engine != self.engine:
            self._note(
                run,
                tell,
                f"This run was started with the engine {recorded.engine} and continues with {self.engine}: its numbers "
                "may differ from an uninterrupted run's.",
            )

    @staticmethod
    def _note(run: RunDirectory, tell: Callable[[str], None], sentence: str) -> None:
        tell(sentence)
        run.note(sentence)


_WORDS = {
    "training": "The training problems",
    "measured": "The problems that are measured",
    "validation": "The validation problems",
    "guard": "The guard problems",
    "reward": "The reward function's file",
    "guard_reward": "The guard's reward function's file",
    "read": "What the method reads of the training problems besides questions and answers",
}
assert set(_WORDS) < {item.name for item in fields(Inputs)}


def training_digest(task: Task) -> str | None:
    """Return the sha256 of all training problems, in their order; None where they are generated without end."""
    if isinstance(task, Table):
        return fingerprint(task.slices["training"])
    if isinstance(task, Mixture):
        parts = [training_digest(part.task) for part in task.parts]
        return sha256(json.dumps(parts).encode()).hexdigest() if any(parts) else None
    if task.num_training is None:
        return None
    return fingerprint(task.training(Key.of(0), index) for index in range(task.num_training))


def problems_digest(problems: Sequence[Problem] | None) -> str | None:
    """Return the sha256 of problems, None for none."""
    return None if problems is None else fingerprint(problems)


def _held(run: RunDirectory) -> object:
    data = read_bytes(run.path / INPUTS, _UNKNOWN)
    if not Checksums(run.path).agrees(INPUTS, data):
        raise RunError(f"{run.path / INPUTS} has another content than when it was written; {_UNKNOWN}.")
    return object_of(data, run.path / INPUTS, _UNKNOWN)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
