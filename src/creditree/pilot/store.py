"""The directory of a pilot: what was asked, what each stage found, and the report."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Self

from creditree.errors import RunError
from creditree.runs.atomic import recover, write_json, write_text, writing
from creditree.runs.attempts import AttemptParts
from creditree.runs.difference import describe_difference
from creditree.runs.environment import describe_environment
from creditree.runs.held import HeldDirectory, read_object
from creditree.runs.lock import RunLock

SETTINGS, CODE, CLOCK = "pilot.yaml", "code.json", "seconds.json"
PRECEDING = (SETTINGS, CODE, CLOCK, "machine.json", "checks.json", "probe.json", "peak.json")
"""What is there before anything is measured ..."""
PROBLEMS = "problems"
MEASURED = ("base", "trials", "run")
"""... in one of these folders."""


CURE = "remove it, and repeat the command"


class PilotDirectory(HeldDirectory):
    """``pilot.yaml problems/ base/ STAGE.json trials/ run/ report.json report.md report.html``.

    Open it with `open`, in a ``with``: it holds the directory's lock. A stage's record is written once, when the stage
    has ended; the same command goes on behind the last one. `spent_s` counts the seconds of all stages, but for those
    of a command that was killed.
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        super().__init__(path, lock)
        self._seconds: dict[str, float] = {}
        if (path / CLOCK).is_file():
            self._seconds = {str(name): float(value) for name, value in read_object(path / CLOCK, CURE).items()}

    @classmethod
    def open(cls, path: Path, settings_yaml: str) -> Self:
        """Start a pilot in a new or empty directory, or continue the one that is there.

        Raises RunError where it was begun with other settings, cannot be written, or another process is writing it.
        """
        if path.exists() and not path.is_dir():
            raise RunError(f"--out {path} is a file; choose a directory.")
        if (path / "config.yaml").exists():
            raise RunError(f"Directory {path} holds a training run; choose another one with --out.")
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        _check_empty(path)
        lock = RunLock(path)
        try:
            recover(path)
            _check_settings(path, settings_yaml)
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, Exception) and not any((self.path / name).exists() for name in MEASURED):
            # A missing file, a wrong name, too short a budget: the corrected command may have other settings.
            for name in PRECEDING:
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / PROBLEMS, ignore_errors=True)

    @property
    def run(self) -> Path:
        """The training run."""
        return self.path / "run"

    def trial(self, number: int) -> Path:
        """Return the run directory of a trial."""
        return self.path / "trials" / str(number)

    def sampled(self, name: str) -> AttemptParts:
        """Return the completions of the base model under one way of decoding, to be read and added to."""
        return AttemptParts(self.path / "base" / name)

    def has(self, stage: str) -> bool:
        """Return whether a stage has ended."""
        return (self.path / f"{stage}.json").is_file()

    def read(self, stage: str) -> dict[str, Any]:
        """Return the record of a stage that has ended. Raises RunError where it cannot be read."""
        return read_object(self.path / f"{stage}.json", CURE)

    def write(self, stage: str, record: object) -> None:
        """Write the record of a stage."""
        write_json(self.path / f"{stage}.json", record)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text, such as ``report.md``."""
        write_text(self.path / name, text)

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
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + monotonic() - begun
            write_json(self.path / CLOCK, self._seconds)


def _check_empty(path: Path) -> None:
    """Raise RunError for a directory of somebody else's: a pilot writes, and where it fails removes, files in it."""
    if (path / SETTINGS).exists():
        return
    other = next((entry.name for entry in sorted(path.iterdir()) if entry.name != ".lock"), None)
    if other is not None:
        raise RunError(f"Directory {path} holds {other} and no pilot; choose an empty one, or a new one, with --out.")


def _check_settings(path: Path, settings_yaml: str) -> None:
    held = path / SETTINGS
    if held.exists():
        before = held.read_text(encoding="utf-8")
        difference = describe_difference(before, settings_yaml, place="pilot", file=SETTINGS)
        if difference:
            raise RunError(
                f"The pilot in {path} was begun with other settings: {difference}; repeat it with the same ones, or "
                "choose another directory with --out."
            )
        return
    write_json(path / CODE, describe_environment())
    write_text(held, settings_yaml)
