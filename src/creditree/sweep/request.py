"""What a sweep is asked for, whether it is a grid or a search."""

from dataclasses import dataclass
from pathlib import Path

RESULT, REPORT = "sweep.json", "sweep.md"
"""The files that a sweep ends in."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """Which sweep is run, and where: the directory `out` goes on with what it holds.

    `workers`: how many processes work on each run, on a Ray cluster or this machine; None: this one alone.
    """

    path: Path
    out: Path
    decoding: str | None = None
    overrides: tuple[str, ...] = ()
    workers: int | None = None
