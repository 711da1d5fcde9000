"""The metrics of a run: one JSON object a line, appended as the run goes, read by whoever wants to."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creditree.disk import is_there
from creditree.errors import RunError
from creditree.runs.atomic import write_bytes, writing
from creditree.runs.records import read_bytes


def plain(value: object) -> object:
    """Return `value` as JSON holds it: numpy numbers and arrays as Python's, tuples as lists, NaN and infinity as None.

    Raises TypeError for anything else than numbers, strings, None, and lists, tuples and mappings of them.
    """
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"a metric cannot be a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Mark:
    """How many lines a file of lines had at some time, and the sha256 of their bytes."""

    lines: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> "Mark":
        """Return the mark of all lines."""
        return cls(data.count(b"\n"), hashlib.sha256(data).hexdigest())


class MetricsLog:
    """``metrics.jsonl``: records in the order of their steps. Only the holder of the run appends and truncates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = 0
        self._last_step = -1
        self._hash: Any = None
        """Of what this process knows to be in the file; None: not looked at yet."""

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line. It survives the process being killed at once; `sync` makes it survive the machine.

        Raises ValueError for a record without a whole number as "step", RunError where the file cannot be written.
        """
        if not isinstance(record.get("step"), int):
            raise ValueError(f"a metrics record needs a whole number as 'step', this one has {record.get('step')!r}")
        line = (json.dumps(plain(record), ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")
        self._look()
        with writing(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            with open(descriptor, "ab") as file:
                file.write(line)
        self._hash.update(line)
        self._lines += 1
        self._last_step = max(self._last_step, _step(record))

    def sync(self) -> None:
        """Wait until the disk has every line."""
        if is_there(self.path):
            with writing(self.path), self.path.open("rb") as file:
                os.fsync(file.fileno())

    def mark(self, step: int | None = None) -> Mark:
        """Return what stands for all lines, those found first and those appended since; or for those up to `step`."""
        self._look()
        if step is not None and self._last_step > step:
            kept = [line for line, record in _read(self._data()) if record is None or _step(record) <= step]
            return Mark(len(kept), hashlib.sha256(b"".join(kept)).hexdigest())
        return Mark(self._lines, self._hash.hexdigest())

    def truncate_after(self, step: int) -> None:
        """Drop the lines of steps later than `step`, and lines that are no records; keep the others' bytes.

        A line that is no record is one that a crash has torn, or damage: `damage` tells the second.
        """
        data = self._data()
        kept = b"".join(line for line, record in _read(data) if record is not None and _step(record) <= step)
        if kept != data:
            write_bytes(self.path, kept)
        self._hash = None

    def damage(self, mark: Mark) -> str:
        """Return how the lines differ from those of a mark, in words: "" where they are the same."""
        now = self.mark()
        if now == mark:
            return ""
        if now.lines < mark.lines:
            return f"holds {now.lines} of the {mark.lines} lines that it had"
        return "has other lines than it had"

    def records(self) -> list[dict[str, object]]:
        """Return all records; a last line that is torn, or still being written, is left out.

        Raises RunError where another line is not a JSON object with a step.
        """
        lines = _read(self._data())
        for number, (_, record) in enumerate(lines, start=1):
            if record is None and number < len(lines):
                raise RunError(
                    f"{self.path} line {number} is not a metrics record; remove the line, or use another run."
                )
        return [record for _, record in lines if record is not None]

    def _look(self) -> None:
        if self._hash is None:
            data = self._data()
            self._hash, self._lines = hashlib.sha256(data), data.count(b"\n")
            self._last_step = max((_step(record) for _, record in _read(data) if record is not None), default=-1)

    def _data(self) -> bytes:
        return read_bytes(self.path, "remove it, or use another run") if os.path.lexists(self.path) else b""


def _read(data: bytes) -> list[tuple[bytes, dict[str, object] | None]]:
    return [(line, _parsed(line)) for line in data.splitlines(keepends=True)]


def _parsed(line: bytes) -> dict[str, object] | None:
    """Return the record of a whole line, None for one that is torn or foreign."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = line.endswith(b"\n") and isinstance(record, dict) and type(record.get("step")) is int
    return record if whole else None


def _step(record: Mapping[str, object]) -> int:
    step = record["step"]
    assert isinstance(step, int)
    return step
