"""What was measured of an adapter since it was trained: one line a problem, kept over many calls."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from creditree.errors import RunError
from creditree.runs.atomic import recover, sync_folder, write_bytes, write_text
from creditree.runs.attempts import Attempt, AttemptParts
from creditree.runs.difference import describe_difference
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock

SETTINGS, OBSERVATIONS, COMPLETIONS = "monitor.yaml", "observations.jsonl", "completions"


@dataclass(frozen=True, slots=True)
class Observation:
    """One fresh problem, measured once.

    `time` is UTC in ISO 8601, `digest` stands for question and accepted answers, `share` is the part of the completions
    that are correct, in [0, 1]. `statuses`, `truncated` and `tokens` are counted over the completions; `file` is where
    the problem was read from, `call` which call measured it, from 1 on.
    """

    time: str
    call: int
    digest: str
    id: str
    share: float
    statuses: Mapping[str, int]
    truncated: int
    tokens: int
    file: str


class ObservationLog(HeldDirectory):
    """``monitor.yaml observations.jsonl completions/part-*.parquet``: the state of a sequential test.

    `open` holds the folder's lock until `close` (or the end of a ``with``). Nothing is written before the first `add`,
    so a command that fails earlier leaves no settings behind. The test may not change under way: other settings are
    refused.
    """

    def __init__(self, path: Path, settings_yaml: str, lock: RunLock, held: Sequence[Observation]) -> None:
        super().__init__(path, lock)
        self._settings = settings_yaml
        self._held = list(held)

    @classmethod
    def open(cls, path: Path, settings_yaml: str) -> Self:
        """Begin in a new or empty directory, or go on with the observations that are there.

        Raises RunError where they were made with other settings (the sentence names the keys and both values), where
        the directory holds something else, cannot be written, or is being written by another process.
        """
        _make(path)
        lock = RunLock(path)
        try:
            recover(path)
            _check_settings(path, settings_yaml)
            held = _read(path / OBSERVATIONS)
        except BaseException:
            lock.release()
            raise
        return cls(path, settings_yaml, lock, held)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations, in the order in which they were made."""
        return tuple(self._held)

    @property
    def next_call(self) -> int:
        """The number of a call that begins now."""
        return self._held[-1].call + 1 if self._held else 1

    def add(self, observations: Sequence[Observation], attempts: Sequence[Attempt] = ()) -> None:
        """Append some more, durably, and keep the completions with their texts. Raises RunError where it cannot.

        Completions first: a crash between the two leaves completions that are sampled again, never a problem that is
        counted and whose completions are lost.
        """
        if not (self.path / SETTINGS).exists():
            write_text(self.path / SETTINGS, self._settings)
        if attempts:
            AttemptParts(self.path / COMPLETIONS).add(attempts)
        lines = "".join(json.dumps(asdict(one), ensure_ascii=False, allow_nan=False) + "\n" for one in observations)
        path = self.path / OBSERVATIONS
        try:
            with path.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.path)
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from error
        self._held += observations


def _make(path: Path) -> None:
    if (path / "config.yaml").exists():
        raise RunError(f"Directory {path} holds a training run; choose another one with --state.")
    if path.exists() and not path.is_dir():
        raise RunError(f"--state {path} is a file; choose a directory.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(_cannot_write(path, error)) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunError(_cannot_write(path, PermissionError(13, "Permission denied")))


def _cannot_write(path: Path, error: OSError) -> str:
    return f"Cannot write {path}: {error.strerror or error}; keep the observations elsewhere with --state DIR."


def _check_settings(path: Path, settings_yaml: str) -> None:
    held = path / SETTINGS
    if not held.exists():
        if (path / OBSERVATIONS).exists():
            raise RunError(f"Directory {path} holds {OBSERVATIONS} but no {SETTINGS}; choose another one with --state.")
        return
    difference = describe_difference(held.read_text(encoding="utf-8"), settings_yaml, place="state", file=SETTINGS)
    if difference:
        raise RunError(
            f"The observations in {path} are of another test: {difference}; repeat it with the same settings, begin a "
            f"new test with another --state, or remove {path}."
        )


def _read(path: Path) -> list[Observation]:
    """Return all observations, and drop a last line that a crash has torn. Only the holder of the lock may call it."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    found = []
    for number, line in enumerate(lines, start=1):
        one = _parsed(line)
        if one is None and number < len(lines):
            raise RunError(f"{path} line {number} is no observation; remove the line, or choose another --state.")
        if one is not None:
            found.append(one)
    if len(found) < len(lines):
        write_bytes(path, b"".join(lines[:-1]))
    return found


def _parsed(line: bytes) -> Observation | None:
    """Return the observation of a whole line, None for one that is torn or foreign."""
    try:
        values: Any = json.loads(line)
    except ValueError:
        return None
    names = {field.name for field in fields(Observation)}
    if not line.endswith(b"\n") or not isinstance(values, dict) or set(values) != names:
        return None
    share = values["share"]
    return Observation(**values) if isinstance(share, int | float) and 0 <= share <= 1 else None
