"""The directory of a pilot: what was asked, what each stage found, and the report."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, TypeVar

from creditree.disk import is_folder, is_there
from creditree.errors import RunError
from creditree.runs.attempts import AttemptParts
from creditree.runs.environment import describe_environment
from creditree.runs.held import CODE, HeldDirectory, foreign
from creditree.runs.lock import RunLock

T = TypeVar("T")

SETTINGS, CLOCK = "pilot.yaml", "seconds.json"
PRECEDING = (SETTINGS, CODE, CLOCK, "machine.json", "checks.json", "probe.json", "peak.json")
"""What is there before anything is measured ..."""
PROBLEMS = "problems"
MEASURED = ("base", "trials", "run")
"""... in one of these folders."""


class PilotDirectory(HeldDirectory):
    """``pilot.yaml problems/ base/ STAGE.json trials/ run/ report.json report.md report.html``.

    Open it with `open`, in a ``with``: it holds the directory's lock. A stage's record is written once, when the stage
    has ended; the same command goes on behind the last one. `spent_s` counts the seconds of all stages, but for those
    of a command that was killed.
    """

    CURE: ClassVar[str] = "remove it, and repeat the command"
    SETTINGS: ClassVar[str] = SETTINGS
    PLACE: ClassVar[str] = "pilot"
    MADE: ClassVar[str] = "pilot in {path} was begun with other settings"

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        super().__init__(path, lock)
        self._seconds: dict[str, float] = {}
        if os.path.lexists(path / CLOCK):
            self._seconds = self.read_record(CLOCK, dict[str, float])

    @classmethod
    def _refuse_foreign(cls, path: Path) -> None:
        _check_own(path)

    def _begin(self, settings_yaml: str, *, begun: bool) -> None:
        if not begun:
            self.write_text(SETTINGS, settings_yaml, checked=False)
        if not begun or not os.path.lexists(self.path / CODE):
            self.write_json(CODE, describe_environment(), checked=False)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, Exception) and not any(is_there(self.path / name) for name in MEASURED):
            # A missing file, a wrong name, too short a budget: the corrected command may have other settings.
            shutil.rmtree(self.path / PROBLEMS, ignore_errors=True)
            self.forget(*PRECEDING[1:], PRECEDING[0])

    @property
    def run(self) -> Path:
        """The training run."""
        return self.path / "run"

    def trial(self, number: int) -> Path:
        """Return the run directory of a trial."""
        return self.path / "trials" / str(number)

    def sampled(self, name: str) -> AttemptParts:
        """Return the completions of the base model under one way of decoding, to be read and added to."""
        return AttemptParts(self, f"base/{name}")

    def has(self, stage: str) -> bool:
        """Return whether a stage has ended."""
        return os.path.lexists(self.path / f"{stage}.json")

    def read(self, stage: str) -> dict[str, Any]:
        """Return the record of a stage that has ended. Raises RunError where it cannot be read."""
        return self.read_json(f"{stage}.json")

    def read_as(self, stage: str, kind: type[T]) -> T:
        """Return the same as a dataclass, say. Raises RunError where it has another shape."""
        return self.read_record(f"{stage}.json", kind)

    def write(self, stage: str, record: object) -> None:
        """Write the record of a stage."""
        self.write_json(f"{stage}.json", record)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds by stage, over all commands."""
        return dict(self._seconds)

    @property
    def spent_s(self) -> float:
        """Wall seconds of all stages."""
        return sum(self._seconds.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of the block for a stage, also where it is interrupted."""
        begun = monotonic()
        try:
            yield
        except BaseException:
            with suppress(RunError):  # what went wrong first is what is to be told
                self._count(name, begun)
            raise
        self._count(name, begun)

    def _count(self, name: str, begun: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + monotonic() - begun
        self.write_json(CLOCK, self._seconds)


def _check_own(path: Path) -> None:
    """Raise RunError for a directory of somebody else's: a pilot writes, and where it fails removes, files in it.

    The settings are the first file that a pilot writes. What one leaves that was stopped before is not foreign.
    """
    if not is_folder(path) or is_there(path / SETTINGS):
        return
    other = foreign(path, frozenset(PRECEDING))
    if other is not None and not (other == CODE and b'"creditree"' in (path / CODE).read_bytes()):
        raise RunError(f"Directory {path} holds {other} and no pilot; choose an empty one, or a new one, with `out`.")
