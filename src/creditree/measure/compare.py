"""Comparing finished runs and saved evaluations, paired by problem."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from creditree.errors import RunError, did_you_mean
from creditree.evaluate.compare import Measured, TaskPair, pair_measured
from creditree.report.comparison import compared_json, compared_view
from creditree.runs.checksums import Checksums
from creditree.runs.evaluation import COMPLETIONS, is_evaluation
from creditree.runs.setting import labels_of

WIDTH = 120


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """What was measured under one way of decoding, side by side.

    `damages`: sentences on files that are not as they were written, and that the comparison does not need.
    """

    measured: tuple[Measured, ...]
    decoding: str
    damages: tuple[str, ...] = ()

    @property
    def pairs(self) -> list[TaskPair]:
        """Every two of them on the problems that both answered."""
        return pair_measured(self.measured, self.decoding)

    def conclusions(self) -> list[str]:
        """Return what may be concluded, a sentence a pair."""
        return [pair.pair.conclusion() for pair in self.pairs]

    def view(self) -> RenderableType:
        """Return the comparison for a terminal."""
        return compared_view(self.measured, self.decoding)

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return compared_json(self.measured, self.decoding)

    def __str__(self) -> str:
        """Return the comparison as text."""
        console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
        console.print(self.view())
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().rstrip()


def compare(paths: Sequence[Path], *, decoding: str | None = None, by_method: bool = False) -> Comparison:
    """Compare finished runs or saved evaluations, paired by problem.

    `by_method` also averages the runs of a method over their seeds; those of one method under several settings are
    several groups. Raises RunError for less than two, for what has not ended, and for a decoding that not all have.
    """
    if len(paths) < 2:
        raise RunError(f"creditree compare needs at least two run directories, and got {len(paths)}; name another one.")
    if by_method and any(map(is_evaluation, paths)):
        raise RunError("`by_method` averages training runs, and a saved evaluation is none; leave it out.")
    measured = [Measured.of(path) for path in paths]
    damages = tuple(sentence for path in paths for sentence in _damages(path))
    if by_method:
        labels = labels_of([run.setting for run in measured if run.setting is not None], [run.name for run in measured])
        measured = [replace(run, group=label) for run, label in zip(measured, labels, strict=True)]
    return Comparison(tuple(measured), shared_decoding([run.decodings for run in measured], decoding), damages)


def _damages(path: Path) -> list[str]:
    """Return which completions are damaged: the results that were made of them have checksums of their own."""
    damages = Checksums(path).damages(("measurement/", f"{COMPLETIONS}/"))
    return [f"{path / name} {words}; the comparison does not need it." for name, words in damages.items()]


def shared_decoding(measured: Sequence[Iterable[str]], decoding: str | None) -> str:
    """Return the decoding to compare: the one asked for, else the first that all have. Raises RunError."""
    known = [list(names) for names in measured]
    shared = [name for name in known[0] if all(name in names for names in known)]
    if decoding is None and shared:
        return shared[0]
    if decoding in shared:
        return str(decoding)
    if decoding is None:
        raise RunError("the runs have no decoding in common: measure them with equal temperatures.")
    raise RunError(f"`decoding` '{decoding}' was not measured in every run.{did_you_mean(decoding, shared)}")
