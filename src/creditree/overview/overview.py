"""What a report is of: one run, or several side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.evaluate.compare import Measured
from creditree.overview.run import RunOverview


@dataclass(frozen=True, eq=False, slots=True)
class Overview:
    """Runs side by side.

    `measured`: what those that have ended reached under one way of `decoding`, for the comparison in pairs; empty where
    there is none.  `notes`: sentences on what could not be read.
    """

    runs: Sequence[RunOverview]
    measured: Sequence[Measured] = ()
    decoding: str = ""
    notes: Sequence[str] = ()
