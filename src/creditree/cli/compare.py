"""`creditree compare`."""

from collections.abc import Sequence
from pathlib import Path

from creditree.cli.output import console, print_json
from creditree.errors import RunError
from creditree.report.comparison import ComparedRun, compare_json, compare_view
from creditree.runs.directory import RunDirectory


def compare_command(paths: Sequence[Path], *, as_json: bool) -> None:
    """Compare finished runs, paired by problem."""
    if len(paths) < 2:
        raise RunError(f"creditree compare needs at least two run directories, and got {len(paths)}; name another one.")
    runs = [ComparedRun.of(RunDirectory.read(path)) for path in paths]
    if as_json:
        print_json(compare_json(runs))
    else:
        console().print(compare_view(runs))
