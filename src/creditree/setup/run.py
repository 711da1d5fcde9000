"""A run that was made, for whoever goes on from it."""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path

from creditree.config.load import parse_config
from creditree.config.schema import RunConfig
from creditree.disk import is_file, is_there
from creditree.errors import RunError
from creditree.evaluate.summary import Summary
from creditree.runs.directory import RunDirectory
from creditree.train.outcome import REPORT
from creditree.train.page import PAGE

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Run(PathLike[str]):
    """A run directory; wherever the path of a run is asked for, the run itself can be given."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def __fspath__(self) -> str:
        return fspath(self.path)

    def __str__(self) -> str:
        """Return the path: messages name a run by it."""
        return str(self.path)

    @property
    def directory(self) -> RunDirectory:
        """Its files. Raises RunError where there is no run."""
        return RunDirectory.read(self.path)

    @cached_property
    def summary(self) -> Summary:
        """What came out. Raises RunError where the run has not ended, or its summary cannot be read."""
        directory = self.directory
        if not directory.has(SUMMARY):
            raise RunError(f"Run {self.path} has no {SUMMARY}: it has not ended; continue it with `resume` first.")
        return Summary.from_json(directory.read_json(SUMMARY), str(self.path / SUMMARY))

    @cached_property
    def config(self) -> RunConfig:
        """What it was trained with, every value as it ran."""
        return parse_config(self.directory.config_yaml, str(self.path / "config.yaml"))

    @property
    def trained(self) -> Path:
        """The folder of what was trained: the adapter, or a whole model."""
        return self.directory.trained

    @property
    def report(self) -> Path:
        """The page for people to look at; the same in short where it could not be written."""
        page = self.path / PAGE
        return page if is_file(page) else self.path / REPORT

    @property
    def saved(self) -> dict[str, Path]:
        """Where what it holds is, by what it is called: what is there."""
        places = {
            "adapter (PEFT)" if self.trained.name == "adapter" else "model": self.trained,
            "figures": self.path / SUMMARY,
            "report": self.report,
            "sampled completions": self.path / "rollouts",
            "all steps": self.path / "metrics.jsonl",
        }
        return {name: place for name, place in places.items() if is_there(place)}

    def metrics(self) -> list[dict[str, object]]:
        """Return the metrics record of each step."""
        return self.directory.metrics()
