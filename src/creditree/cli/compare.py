"""`creditree compare`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from creditree.cli.output import console, print_json, progress_console
from creditree.errors import RunError, did_you_mean
from creditree.report.comparison import ComparedRun, compare_json, compare_view
from creditree.report.saved import Measured, saved_json, saved_view
from creditree.runs.checksums import Checksums
from creditree.runs.directory import RunDirectory
from creditree.runs.evaluation import COMPLETIONS, is_evaluation


def compare_command(paths: Sequence[Path], *, decoding: str | None, by_method: bool, as_json: bool) -> None:
    """Compare finished runs or saved evaluations, paired by problem.

    `by_method` also averages the runs of a method over their seeds.
    """
    if len(paths) < 2:
        raise RunError(f"creditree compare needs at least two run directories, and got {len(paths)}; name another one.")
    for path in paths:
        _tell_damage(path)
    if any(map(is_evaluation, paths)):
        _compare_saved(paths, decoding, by_method=by_method, as_json=as_json)
        return
    runs = [ComparedRun.of(RunDirectory.read(path)) for path in paths]
    if by_method:
        runs = [replace(run, group=f"{run.summary.method} on {run.summary.task}") for run in runs]
    chosen = shared_decoding([run.summary.decoding for run in runs], decoding)
    if as_json:
        print_json(compare_json(runs, chosen))
    else:
        console().print(compare_view(runs, chosen))


def _tell_damage(path: Path) -> None:
    """Say which completions are damaged: the results that were made of them have checksums of their own."""
    for name, words in Checksums(path).damages(("measurement/", f"{COMPLETIONS}/")).items():
        progress_console(stderr=True).print(f"{path / name} {words}; the comparison does not need it.", soft_wrap=True)


def shared_decoding(measured: Sequence[Iterable[str]], asked: str | None) -> str:
    """Return the decoding to compare: the one asked for, else the first that all have. Raises RunError."""
    known = [list(names) for names in measured]
    shared = [name for name in known[0] if all(name in names for names in known)]
    if asked is None and shared:
        return shared[0]
    if asked in shared:
        return str(asked)
    if asked is None:
        raise RunError("the runs have no decoding in common: measure them with equal temperatures.")
    raise RunError(f"--decoding '{asked}' was not measured in every run.{did_you_mean(asked, shared)}")


def _compare_saved(paths: Sequence[Path], decoding: str | None, *, by_method: bool, as_json: bool) -> None:
    if by_method:
        raise RunError("--by-method averages training runs, and a saved evaluation is none; leave it out.")
    measured = [Measured.of(path) for path in paths]
    chosen = shared_decoding([one.results for one in measured], decoding)
    if as_json:
        print_json(saved_json(measured, chosen))
    else:
        console().print(saved_view(measured, chosen))
