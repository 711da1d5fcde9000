"""What a sweep is asked for, whether it is a grid or a search."""

from dataclasses import dataclass
from pathlib import Path

RESULT, REPORT = "sweep.json", "sweep.md"
"""The files that a sweep ends in."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """Which sweep is run, and where: the directory `out` goes on with what it holds."""

    path: Path
    out: Path
    decoding: str | None = None
    overrides: tuple[str, ...] = ()
