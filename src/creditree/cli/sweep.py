"""`creditree sweep`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creditree.cli.options import DecodingOption, JsonOption, SetOption
from creditree.engines.native.library import prepare
from creditree.errors import RunError

if TYPE_CHECKING:
    from creditree.config.sweep import SweepRun


def sweep(
    config: Annotated[Path, typer.Argument(help="Sweep (YAML): base, grid or cases, seeds.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of the runs; the same command continues a stopped sweep.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all configurations and list the runs.")] = False,
    decoding: DecodingOption = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train every combination of settings and seeds, and compare the cases."""
    from creditree.config.sweep import load_sweep

    if dry_run:
        _list(load_sweep(config, set_ or []), out, as_json=json)
        return
    prepare()
    from creditree.cli.output import print_json, progress_console, quiet_libraries, shown
    from creditree.report.sweep import sweep_view
    from creditree.sweep.running import REPORT, RESULT, SweepRequest
    from creditree.sweep.running import sweep as swept

    if out is None:
        load_sweep(config, set_ or [])
        raise RunError("creditree sweep needs a directory: add --out DIR, or --dry-run to look first.")
    quiet_libraries()
    found = swept(SweepRequest(config, out, decoding, tuple(set_ or ())), shown(stderr=json))
    if json:
        print_json(found.to_json())
    elif found.finished and found.decoding is not None:
        progress = progress_console(stderr=False)
        progress.print(sweep_view(found.finished, found.decoding))
        progress.print(f"\nSaved: figures in {out / RESULT}, tables in {out / REPORT}.")
    found.check()


def _list(runs: Sequence["SweepRun"], out: Path | None, *, as_json: bool) -> None:
    from creditree.cli.output import console, print_json
    from creditree.sweep.running import run_json, state_of

    if as_json:
        print_json({"runs": [run_json(run, out) for run in runs]})
        return
    states = [state_of(run, out) for run in runs]
    printed = console()
    for run, state in zip(runs, states, strict=True):
        printed.print(f"{state:8} {run.folder}", soft_wrap=True)
    steps = sum(run.config.train.steps for run, state in zip(runs, states, strict=True) if state != "done")
    printed.print(f"{len(runs)} runs, {states.count('done')} done; up to {steps:,} training steps to go")
