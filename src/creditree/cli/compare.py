"""`creditree compare`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from creditree.cli.output import console, print_json
from creditree.errors import RunError, did_you_mean
from creditree.report.comparison import ComparedRun, compare_json, compare_view
from creditree.runs.directory import RunDirectory


def compare_command(paths: Sequence[Path], *, decoding: str | None, by_method: bool, as_json: bool) -> None:
    """Compare finished runs, paired by problem; `by_method` also averages the runs of a method over their seeds."""
    if len(paths) < 2:
        raise RunError(f"creditree compare needs at least two run directories, and got {len(paths)}; name another one.")
    runs = [ComparedRun.of(RunDirectory.read(path)) for path in paths]
    if by_method:
        runs = [replace(run, group=f"{run.summary.method} on {run.summary.task}") for run in runs]
    chosen = _decoding(runs, decoding)
    if as_json:
        print_json(compare_json(runs, chosen))
    else:
        console().print(compare_view(runs, chosen))


def _decoding(runs: Sequence[ComparedRun], asked: str | None) -> str:
    """Return the decoding to compare: the one asked for, else the first that every run has."""
    shared = [name for name in runs[0].summary.decoding if all(name in run.summary.decoding for run in runs)]
    if asked is None and shared:
        return shared[0]
    if asked in shared:
        return str(asked)
    if asked is None:
        raise RunError("the runs have no decoding in common: measure them with equal evaluation.temperatures.")
    raise RunError(f"--decoding '{asked}' was not measured in every run.{did_you_mean(asked, shared)}")
