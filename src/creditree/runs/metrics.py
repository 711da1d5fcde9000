"""The metrics of a run: one JSON object a line, appended as the run goes, read by whoever wants to."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from creditree.errors import RunError
from creditree.runs.atomic import write_bytes, writing


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


class MetricsLog:
    """``metrics.jsonl``: records in the order of their steps. Only the holder of the run appends and truncates."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line. It survives the process being killed at once; `sync` makes it survive the machine.

        Raises ValueError for a record without a whole number as "step", RunError where the file cannot be written.
        """
        if not isinstance(record.get("step"), int):
            raise ValueError(f"a metrics record needs a whole number as 'step', this one has {record.get('step')!r}")
        line = json.dumps(plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        with writing(self.path), self.path.open("ab") as file:
            file.write(line.encode())

    def sync(self) -> None:
        """Wait until the disk has every line."""
        if self.path.exists():
            with writing(self.path), self.path.open("rb") as file:
                os.fsync(file.fileno())

    def truncate_after(self, step: int) -> None:
        """Drop the lines of steps later than `step`, and a last line that a crash has torn; keep the others' bytes."""
        kept = b"".join(line for line, record in self._lines() if _step(record) <= step)
        if self.path.exists() and kept != self.path.read_bytes():
            write_bytes(self.path, kept)

    def records(self) -> list[dict[str, object]]:
        """Return all records; a last line that is torn, or still being written, is left out.

        Raises RunError where another line is not a JSON object with a step.
        """
        return [record for _, record in self._lines()]

    def _lines(self) -> list[tuple[bytes, dict[str, object]]]:
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines(keepends=True)
        found = []
        for number, line in enumerate(lines, start=1):
            record = _parsed(line)
            if record is not None:
                found.append((line, record))
            elif number < len(lines):
                raise RunError(
                    f"{self.path} line {number} is not a metrics record; remove the line, or use another run."
                )
        return found


def _parsed(line: bytes) -> dict[str, object] | None:
    """Return the record of a whole line, None for one that is torn or foreign."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(record, dict) and isinstance(record.get("step"), int)
    return record if whole else None


def _step(record: Mapping[str, object]) -> int:
    step = record["step"]
    assert isinstance(step, int)
    return step
