"""A run directory: everything that one run leaves behind, and everything that it needs to continue."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Self

from creditree.errors import RunError
from creditree.runs.atomic import published, recover, write_json, write_text, writing
from creditree.runs.attempts import Attempt, AttemptParts, read_parts
from creditree.runs.checkpoint import Checkpoint, load_latest, remove_after, save_checkpoint
from creditree.runs.difference import describe_difference
from creditree.runs.environment import changes, describe_environment
from creditree.runs.held import HeldDirectory, read_object
from creditree.runs.lock import RunLock
from creditree.runs.metrics import MetricsLog
from creditree.runs.rollouts import ForestField, ForestTexts, read_rollouts, write_rollouts
from creditree.tree import Forest

_CONFIG, _CODE, _METRICS, _CHECKPOINTS, _ROLLOUTS, _MEASUREMENT = (
    "config.yaml",
    "code.json",
    "metrics.jsonl",
    "checkpoints",
    "rollouts",
    "measurement",
)

Side = Literal["base", "trained"]
"""What is measured: what the run started from, and what it trained."""


CURE = "choose another run, or make this one again"


class RunDirectory(HeldDirectory):
    """``config.yaml code.json metrics.jsonl rollouts/ checkpoints/ adapter/ (or model/) evaluation.json summary.json``.

    What was measured before and after is in ``measurement/DECODING/SIDE/part-*.parquet``; ``start.json`` says what a run
    went on from, ``guard.json`` what was found on its guard set.

    Open one with `create`, `resume` or `read`. The first two hold the run's lock until `close` (or the end of a
    ``with``); one that was opened with `read` cannot be written. Every file but the growing metrics is replaced
    atomically.
    """

    def __init__(
        self, path: Path, lock: RunLock | None, warnings: Sequence[str] = (), *, started: bool = False
    ) -> None:
        super().__init__(path, lock)
        self._started = started
        self._warnings = tuple(warnings)
        self._log = MetricsLog(path / _METRICS)

    @classmethod
    def create(cls, path: Path | str, config_yaml: str) -> Self:
        """Start a run in a new or empty directory, or in one that holds other files but no run.

        Raises RunError where it cannot be written, holds a run, or is being written by another process.
        """
        path = Path(path)
        lock = _locked(path)
        try:
            if (path / _CONFIG).exists():
                raise RunError(
                    f"Run directory {path} already holds a run; continue it with --resume, or choose another directory."
                )
            _start(path, config_yaml)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock, started=True)

    @classmethod
    def resume(cls, path: Path | str, config_yaml: str) -> Self:
        """Continue the run in `path`, or start it where there is none; call `restore` next.

        Raises RunError where the run has another configuration (the sentence names the keys and both values), cannot be
        written, or is being written by another process.
        """
        path = Path(path)
        lock = _locked(path)
        warnings: list[str] = []
        try:
            recover(path)
            started = not (path / _CONFIG).exists()
            if not started:
                difference = describe_difference(_read_text(path / _CONFIG), config_yaml)
                if difference:
                    raise RunError(
                        f"Run directory {path} was made with another configuration: {difference}; "
                        "resume with the same one, or choose another directory."
                    )
                warnings = changes(read_object(path / _CODE, CURE), describe_environment())
            else:
                _start(path, config_yaml)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock, warnings, started=started)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Open a run to read it, while another process may be writing it. Raises RunError where there is none."""
        path = Path(path)
        if not (path / _CONFIG).is_file():
            raise RunError(
                f"There is no run in {path}: {_CONFIG} is missing; check the path, or train one there first."
            )
        return cls(path, None)

    def _failed(self, error: BaseException) -> None:
        if self._started:
            self._withdraw()

    def _withdraw(self) -> None:
        """Make the directory free again where a run failed before it kept anything: a missing file, a wrong name."""
        kept = any((self.path / name).exists() for name in (_METRICS, _CHECKPOINTS, _ROLLOUTS, "evaluation.json"))
        if not kept and not any((self.path / _MEASUREMENT).rglob("part-*.parquet")):
            shutil.rmtree(self.path / _MEASUREMENT, ignore_errors=True)
            for name in (_CONFIG, _CODE, "start.json"):
                (self.path / name).unlink(missing_ok=True)

    @property
    def config_yaml(self) -> str:
        """The resolved configuration, as text."""
        return _read_text(self.path / _CONFIG)

    @property
    def adapter(self) -> Path:
        """The folder of the last adapter, in PEFT's format."""
        return self.path / "adapter"

    @property
    def trained(self) -> Path:
        """The folder of what was trained: the adapter, or a whole model in transformers' format."""
        model = self.path / "model"
        return model if model.is_dir() else self.adapter

    def save(self, checkpoint: Checkpoint, keep: int = 2, sound_step: int | None = None) -> None:
        """Write a checkpoint; the metrics up to it are on the disk before it is. That of `sound_step` is kept too."""
        self._check_writable()
        self._log.sync()
        save_checkpoint(self.path / _CHECKPOINTS, checkpoint, keep, sound_step)

    def forget_checkpoints(self, after: int) -> None:
        """Remove the checkpoints of steps later than `after`."""
        self._check_writable()
        remove_after(self.path / _CHECKPOINTS, after)

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint (None: start at step 0), and sentences that the user should see.

        Metrics and rollouts of later steps are removed: the run makes them again.
        """
        self._check_writable()
        checkpoint, damages = load_latest(self.path / _CHECKPOINTS)
        self.truncate_after(-1 if checkpoint is None else checkpoint.step)
        return checkpoint, [*self._warnings, *damages]

    def append(self, record: Mapping[str, object]) -> None:
        """Add a line of metrics. Raises ValueError for a record without a whole number as "step"."""
        self._check_writable()
        self._log.append(record)

    def metrics(self) -> list[dict[str, object]]:
        """Return all metrics records, without a torn last line. Raises RunError where another line is no record."""
        return self._log.records()

    def truncate_after(self, step: int) -> None:
        """Remove metrics and rollouts of steps later than `step`, and a torn last line."""
        self._check_writable()
        self._log.truncate_after(step)
        if (self.path / _ROLLOUTS).is_dir():
            recover(self.path / _ROLLOUTS)
        with writing(self.path / _ROLLOUTS):
            for found in self.rollout_steps():
                if found > step:
                    self._rollout_file(found).unlink()

    def write_rollouts(
        self,
        step: int,
        forests: Sequence[Forest],
        advantages: Sequence[ForestField],
        weights: Sequence[ForestField],
        texts: Sequence[ForestTexts],
    ) -> None:
        """Write a step's completions: see `creditree.runs.rollouts.write_rollouts`."""
        self._check_writable()
        with writing(self.path / _ROLLOUTS):
            (self.path / _ROLLOUTS).mkdir(exist_ok=True)
        write_rollouts(self._rollout_file(step), step, forests, advantages, weights, texts)

    def rollouts(self, step: int) -> list[dict[str, object]]:
        """Return the rows of a step's completions. Raises RunError where that step's were not kept."""
        return read_rollouts(self._rollout_file(step))

    def rollout_steps(self) -> list[int]:
        """Return the steps whose completions were kept."""
        names = (path.stem.removeprefix("step-") for path in (self.path / _ROLLOUTS).glob("step-*.parquet"))
        return sorted(int(name) for name in names if name.isdecimal())

    def measurement(self, decoding: str, side: Side) -> AttemptParts:
        """Return the judged completions of one side under one decoding (greedy, T=0.3, ...), to be added to."""
        self._check_writable()
        return AttemptParts(self.path / _MEASUREMENT / decoding / side)

    def attempts(self, decoding: str, side: Side) -> list[Attempt]:
        """Return the same with their texts, as far as they are there. Raises RunError where none is kept."""
        return read_parts(self.path / _MEASUREMENT / decoding / side)

    def forget_measurement(self, side: Side) -> None:
        """Remove one side's judged completions under every decoding, where there are any."""
        self._check_writable()
        with writing(self.path / _MEASUREMENT):
            for folder in (self.path / _MEASUREMENT).glob(f"*/{side}"):
                shutil.rmtree(folder)

    def write_json(self, name: str, value: object) -> None:
        """Write a JSON file of the run, such as ``summary.json`` or ``evaluation.json``. Raises ValueError for NaN."""
        self._check_writable()
        write_json(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run, such as ``report.md``."""
        self._check_writable()
        write_text(self.path / name, text)

    def read_json(self, name: str) -> dict[str, object]:
        """Return a JSON file of the run. Raises RunError where it is missing or no JSON object."""
        return read_object(self.path / name, CURE)

    def has(self, name: str) -> bool:
        """Return whether the run has the file or folder `name`."""
        return (self.path / name).exists()

    def published(self, name: str) -> AbstractContextManager[Path]:
        """Return a context that gives an empty folder; it becomes the run's folder `name` when the block succeeds."""
        self._check_writable()
        return published(self.path / name)

    def _rollout_file(self, step: int) -> Path:
        return self.path / _ROLLOUTS / f"step-{step:06d}.parquet"

    def _check_writable(self) -> None:
        if self._lock is None:
            raise RunError(f"Run directory {self.path} is open for reading only; open it with create or resume.")


def _locked(path: Path) -> RunLock:
    if path.exists() and not path.is_dir():
        raise RunError(f"Run directory {path} is a file; choose another directory.")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunError(f"Cannot write {path}: Permission denied; free it or choose another run directory.")
    return RunLock(path)


def _start(path: Path, config_yaml: str) -> None:
    """Write what a run starts with; its configuration last, because that is what makes the directory a run."""
    remains = [name for name in (_METRICS, _CHECKPOINTS, _ROLLOUTS, _MEASUREMENT) if (path / name).exists()]
    if remains:
        raise RunError(
            f"Run directory {path} holds {remains[0]} but no {_CONFIG}; remove it or choose another directory."
        )
    write_json(path / _CODE, describe_environment())
    write_text(path / _CONFIG, config_yaml)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"Cannot read {path}: {error}; choose another run.") from error
