"""A run directory: everything that one run leaves behind, and everything that it needs to continue."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import pyarrow as pa

from creditree.disk import is_folder, is_there
from creditree.errors import RunError
from creditree.runs.atomic import RUN_CURE, recover, remove, writing
from creditree.runs.attempts import Attempt, AttemptParts, forget_parts, read_parts
from creditree.runs.checkpoint import Checkpoint, load_latest, remove_after, save_checkpoint
from creditree.runs.checksums import CHECKSUMS
from creditree.runs.difference import describe_difference
from creditree.runs.environment import changes, describe_environment
from creditree.runs.held import CODE, HeldDirectory, claimed, refuse_folder, refuse_link
from creditree.runs.lock import RunLock
from creditree.runs.metrics import MetricsLog
from creditree.runs.records import read_bytes, text_of
from creditree.runs.rollouts import LATER, SCHEMA
from creditree.runs.tables import read_table, write_table

_CONFIG, _METRICS, _CHECKPOINTS, _ROLLOUTS, _MEASUREMENT, _NOTES = (
    "config.yaml",
    "metrics.jsonl",
    "checkpoints",
    "rollouts",
    "measurement",
    "resumed.json",
)
_STARTED_WITH = (CODE, "inputs.json", "start.json", CHECKSUMS, _CONFIG)
"""What a run starts with; its configuration last, because that is what makes the directory a run."""
SERVER_LOG = "server.log"
"""What a server says that the run has started for itself."""
_SHOWN = ("summary.json", "examples.json", "report.md", "reward.png", "report.html")
_FILES = (*_STARTED_WITH, _METRICS, _NOTES, "evaluation.json", "guard.json", *_SHOWN)
_FOLDERS = (_CHECKPOINTS, _ROLLOUTS, _MEASUREMENT, "adapter", "model")
_KEPT = (_METRICS, _CHECKPOINTS, _ROLLOUTS, "evaluation.json")
_CONFIG_CURE = "put back what it was, or choose another run; the adapter in it can be measured on a `task` without it"

Side = Literal["base", "trained"]
"""What is measured: what the run started from, and what it trained."""


class RunDirectory(HeldDirectory):
    """``config.yaml code.json metrics.jsonl rollouts/ checkpoints/ adapter/ (or model/) evaluation.json summary.json``.

    What was measured before and after is in ``measurement/DECODING/SIDE/part-*.parquet``; ``inputs.json`` says what
    problems, reward and weights a run was started with, ``start.json`` what it went on from, ``guard.json`` what was
    found on its guard set, ``resumed.json`` what was other when it was continued, ``server.log`` what a server said
    that was started for it.

    Open one with `create`, `resume` or `read`. The first two hold the run's lock until `close` (or the end of a
    ``with``); one that was opened with `read` cannot be written. Every file but the growing metrics is replaced
    atomically, and has a
    line in ``creditree.sha256``.
    """

    SETTINGS: ClassVar[str] = _CONFIG
    WRITES: ClassVar[tuple[str, ...]] = (*_KEPT, *(name for name in (*_FILES, *_FOLDERS) if name != "config.yaml"))
    PARAMETER: ClassVar[str] = "`directory`"
    UNWRITABLE: ClassVar[str] = RUN_CURE
    CURE: ClassVar[str] = "remove it and continue the run with `resume`, which writes it again, or choose another run"

    def __init__(self, path: Path, lock: RunLock | None, *, started: bool = False) -> None:
        super().__init__(path, lock)
        self._started = started
        self._log = MetricsLog(path / _METRICS)

    @classmethod
    def create(cls, path: Path | str, config_yaml: str) -> Self:
        """Start a run in a new or empty directory, or in one that holds no run and no file that a run would write.

        Raises RunError where it cannot be written, holds a run or such a file, or is being written by another process.
        """
        path = _named(path)
        cls._refuse_foreign(path)
        with claimed(path, "Run directory") as lock:
            if os.path.lexists(path / _CONFIG):
                raise RunError(
                    f"Run directory {path} already holds a run; continue it with `resume`, or choose another directory."
                )
            return cls._begun(path, lock, config_yaml)

    @classmethod
    def resume(cls, path: Path | str, config_yaml: str) -> Self:
        """Continue the run in `path`, or start it where there is none (`is_new`) as `create` does; then call `restore`.

        Raises RunError where the run has another configuration (the sentence names the keys and both values), cannot be
        written, or is being written by another process.
        """
        path = _named(path)
        cls._refuse_foreign(path)
        with claimed(path, "Run directory") as lock:
            recover(path)
            if not os.path.lexists(path / _CONFIG):
                return cls._begun(path, lock, config_yaml)
            run = cls(path, lock)
            run._refuse_unusable()
            difference = describe_difference(run.config_yaml, config_yaml)
            if difference:
                raise RunError(
                    f"Run directory {path} was made with another configuration: {difference}; "
                    "resume with the same one, or choose another directory."
                )
            return run

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Open a run to read it, while another process may be writing it. Raises RunError where there is none."""
        path = _named(path)
        if not os.path.lexists(path / _CONFIG):
            raise RunError(
                f"There is no run in {path}: {_CONFIG} is missing; check the path, or train one there first."
            )
        return cls(path, None)

    @classmethod
    def _begun(cls, path: Path, lock: RunLock, config_yaml: str) -> Self:
        run = cls(path, lock, started=True)
        run._refuse_unusable()
        run.write_json(CODE, describe_environment(), checked=False)
        run.write_text(_CONFIG, config_yaml)
        return run

    def _refuse_unusable(self) -> None:
        """Raise RunError at once for a folder where a file would be written after hours of training, and for a link."""
        for name in (*_FILES, SERVER_LOG, *_FOLDERS):
            refuse_link(self.path / name)
        for name in (*_FILES, SERVER_LOG):
            refuse_folder(self.path / name)

    @property
    def is_new(self) -> bool:
        """Whether this process started the run."""
        return self._started

    def _failed(self, error: BaseException) -> None:
        if self._started:
            self._withdraw()

    def _withdraw(self) -> None:
        """Make the directory free again where a run failed before it kept anything: a missing file, a wrong name."""
        kept = any(is_there(self.path / name) for name in _KEPT)
        if not kept and not any((self.path / _MEASUREMENT).rglob("part-*.parquet")):
            with writing(self.path):
                for name in (_MEASUREMENT, *_STARTED_WITH):
                    remove(self.path / name)

    @property
    def config_yaml(self) -> str:
        """The resolved configuration, as text."""
        path = self.path / _CONFIG
        return text_of(read_bytes(path, _CONFIG_CURE), path, _CONFIG_CURE)

    @property
    def edited(self) -> str:
        """A sentence where the configuration is not as the run wrote it, else "". It is a text that people may edit."""
        words = self.checksums.damage(_CONFIG)
        return f"{self.path / _CONFIG} {words}: what it says now is taken." if words else ""

    @property
    def adapter(self) -> Path:
        """The folder of the last adapter, in PEFT's format."""
        return self.path / "adapter"

    @property
    def trained(self) -> Path:
        """The folder of what was trained: the adapter, or a whole model in transformers' format."""
        model = self.path / "model"
        return model if is_folder(model) else self.adapter

    def save(self, checkpoint: Checkpoint, keep: int = 2, sound_step: int | None = None) -> None:
        """Write a checkpoint; the metrics up to it are on the disk before it is, and it can tell them from others.

        That of `sound_step` is kept too.
        """
        folder = self.writable(_CHECKPOINTS)
        self._log.sync()
        marked = replace(checkpoint, metrics=self._log.mark(checkpoint.step))
        save_checkpoint(folder, marked, keep, sound_step)

    def forget_checkpoints(self, after: int) -> None:
        """Remove the checkpoints of steps later than `after`."""
        remove_after(self.writable(_CHECKPOINTS), after)

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint (None: start at step 0), and sentences that the user should see.

        Metrics and rollouts of later steps are removed: the run makes them again. What is said of changed versions and
        of lost or changed lines is kept in the run's `notes`.
        """
        checkpoint, said = load_latest(self.writable(_CHECKPOINTS))
        if checkpoint is None and not said and self._log.mark().lines:
            said = ["No step of this run has a checkpoint yet; starting over from step 0."]
        self.truncate_after(-1 if checkpoint is None else checkpoint.step)
        notes = [*self._changed(), *([] if checkpoint is None else self._losses(checkpoint))]
        self.note(*notes)
        return checkpoint, [*notes, *said]

    def _changed(self) -> list[str]:
        """Return what is other than when the run was started: versions and hardware."""
        if self._started:
            return []
        try:
            return changes(self.read_json(CODE), describe_environment())
        except RunError as error:
            return [f"Whether versions have changed since this run was started cannot be told: {error}"]

    def _losses(self, checkpoint: Checkpoint) -> list[str]:
        """Return a sentence for each file, up to a checkpoint, that is not as it was written: the run goes on."""
        losses = []
        words = "" if checkpoint.metrics is None else self._log.damage(checkpoint.metrics)
        if words:
            losses.append(
                f"{self.path / _METRICS} {words} at step {checkpoint.step}: the run goes on, and its curve and report "
                "are of the lines that are left."
            )
        for name, damage in self.checksums.damages((f"{_ROLLOUTS}/",)).items():
            losses.append(f"{self.path / name} {damage}: the run goes on, without that step's completions.")
        return losses

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run's results should know: where it was continued under other circumstances."""
        return self.read_record(_NOTES, dict[str, tuple[str, ...]]).get("notes", ()) if self.has(_NOTES) else ()

    def note(self, *sentences: str) -> None:
        """Add to the run's notes what is not among them."""
        noted = self.notes
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in noted]
        if new:
            self.write_json(_NOTES, {"notes": [*noted, *new]})

    def append(self, record: Mapping[str, object]) -> None:
        """Add a line of metrics. Raises ValueError for a record without a whole number as "step"."""
        self.writable(_METRICS)
        self._log.append(record)

    def metrics(self) -> list[dict[str, object]]:
        """Return all metrics records, without a torn last line. Raises RunError where another line is no record."""
        return self._log.records()

    def truncate_after(self, step: int) -> None:
        """Remove metrics and rollouts of steps later than `step`, and a torn last line."""
        self.writable(_METRICS)
        self._log.truncate_after(step)
        folder = self.writable(_ROLLOUTS)
        if is_folder(folder):
            recover(folder)
        self.forget(*(rollouts_name(later) for later in self.rollout_steps() if later > step))

    def write_rollouts(self, step: int, table: pa.Table) -> None:
        """Write a step's completions, as `creditree.runs.rollouts.rollout_table` makes them."""
        write_table(self, rollouts_name(step), table)

    def rollouts(self, step: int) -> list[dict[str, object]]:
        """Return the rows of a step's completions. Raises RunError where that step's were not kept."""
        return read_table(self, rollouts_name(step), SCHEMA.names, "choose another step", later=LATER)

    def rollout_steps(self) -> list[int]:
        """Return the steps whose completions were kept."""
        names = (path.stem.removeprefix("step-") for path in (self.path / _ROLLOUTS).glob("step-*.parquet"))
        return sorted(int(name) for name in names if name.isdecimal())

    def has(self, name: str) -> bool:
        """Return whether there is a file or folder `name`."""
        return is_there(self.path / name)

    def measurement(self, decoding: str, side: Side) -> AttemptParts:
        """Return the judged completions of one side under one decoding (greedy, T=0.3, ...), to be added to."""
        return AttemptParts(self, _measured(decoding, side))

    def attempts(self, decoding: str, side: Side) -> list[Attempt]:
        """Return the same with their texts, as far as they are there. Raises RunError where none is kept."""
        return read_parts(self, _measured(decoding, side))

    def forget_measurement(self, side: Side) -> None:
        """Remove one side's judged completions under every decoding, where there are any."""
        decodings = (folder.parent.name for folder in (self.path / _MEASUREMENT).glob(f"*/{side}"))
        forget_parts(self, [_measured(decoding, side) for decoding in decodings])


def _measured(decoding: str, side: Side) -> str:
    return f"{_MEASUREMENT}/{decoding}/{side}"


def rollouts_name(step: int) -> str:
    """Return the file of a step's completions."""
    return f"{_ROLLOUTS}/step-{step:06d}.parquet"


def _named(path: Path | str) -> Path:
    if path == "":
        raise RunError("The run directory has no name: it is an empty text; name one.")
    return Path(path)
