"""What a run goes on learning from, where it does not begin with a fresh adapter."""

import os
from dataclasses import dataclass
from pathlib import Path

from creditree.disk import is_folder, is_possible, is_there
from creditree.errors import ModelError, RunError
from creditree.runs.checksums import CHECKSUMS, check_sealed
from creditree.runs.directory import RunDirectory
from creditree.runs.environment import content_digest
from creditree.train.inputs import BaseDigests

START = "start.json"


@dataclass(frozen=True, slots=True)
class Start:
    """`named`: as the user wrote it;  `folder`: of the saved adapter, or of the saved model;  `digest`: its content."""

    named: str
    folder: Path
    digest: str

    @classmethod
    def of(cls, named: str) -> "Start":
        """Return the start that lies at a path. Raises ModelError where there is none."""
        folder = find_start(named)
        return cls(named, folder, content_digest(folder))

    @property
    def words(self) -> str:
        """What it is, for sentences: ``the adapter of runs/a``."""
        return f"the {'adapter' if is_adapter(self.folder) else 'model'} of {self.named}"

    def to_json(self) -> dict[str, object]:
        """Return what the run's files say of it."""
        return {"from": self.named, "folder": str(self.folder), "digest": self.digest, "before": self.words}

    def record(self, run: RunDirectory, base: BaseDigests | None = None) -> None:
        """Write it into the run.

        Raises RunError where the run was started from other content, or where its files are not as they were saved, and
        ModelError where it was trained on another base.
        """
        recorded = run.read_json(START).get("digest") if run.has(START) else self.digest
        if recorded != self.digest:
            raise RunError(
                f"{self.folder} has changed since run {run.path} was started from it (content {recorded} then, "
                f"{self.digest} now); put back what it was, or choose another run directory."
            )
        check_trained(self.folder)
        if base is not None:
            base.check(self.folder)
        if not run.has(START):
            run.write_json(START, self.to_json())


def find_start(named: str) -> Path:
    """Return the folder of a saved adapter, or of a saved model: itself, a run's, or that of the run below ``run``.

    Raises ModelError where there is none.
    """
    path, run = Path(named), run_of(named)
    if is_adapter(path):
        return path
    if run is None:
        raise ModelError(
            f"train.start '{named}' holds no run and no adapter; give a run directory, or the directory of an adapter "
            "that Creditree saved."
            if is_there(path)
            else f"train.start '{named}' does not exist; give a run directory, or the directory of a saved adapter."
        )
    folder = RunDirectory.read(run).trained
    if not is_folder(folder):
        raise ModelError(f"run '{run}' has no adapter yet: it has not ended; continue it with `resume` first.")
    return folder


def check_trained(folder: Path) -> None:
    """Raise RunError where a file of a saved adapter or model is not as it was saved, as far as that can be told."""
    check_sealed(
        folder,
        f"copy it again, or remove {folder / CHECKSUMS} where the change is meant; creditree compare works without",
    )


def run_of(named: str) -> Path | None:
    """Return the run directory that a path is, holds as ``run``, or lies in as its adapter or model; None: no run."""
    path = Path(named)
    if not is_possible(path):
        return None
    above = path.parent if path.name else path.resolve().parent
    is_part = is_adapter(path) or path.resolve().name in ("adapter", "model")
    places = [path, path / "run", *([above] if is_part else [])]
    return next((place for place in places if os.path.lexists(place / "config.yaml")), None)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a saved adapter."""
    return os.path.lexists(folder / "adapter_config.json")
