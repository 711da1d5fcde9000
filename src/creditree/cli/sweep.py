"""`creditree sweep`: a grid of configurations and seeds, one run after the other, and the table that they end in."""

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from creditree.cli.compare import shared_decoding
from creditree.cli.output import console, print_json, progress_console
from creditree.cli.train import train_into
from creditree.config.load import dump_config, parse_config
from creditree.config.sweep import SweepRun, load_sweep
from creditree.errors import CreditreeError, RunError
from creditree.report.comparison import ComparedRun
from creditree.report.summary import Summary
from creditree.report.sweep import SweptRun, sweep_json, sweep_markdown, sweep_view
from creditree.runs.atomic import StorageError, recover
from creditree.runs.difference import describe_difference
from creditree.runs.directory import RunDirectory
from creditree.runs.held import HeldDirectory, claimed
from creditree.setup.defaults import resolved
from creditree.setup.start import started
from creditree.setup.workload import settled
from creditree.train.interrupt import continuing

State = Literal["new", "started", "done"]
RESULT, REPORT = "sweep.json", "sweep.md"


@dataclass(frozen=True, slots=True)
class _Failure:
    run: SweepRun
    reason: str


def sweep_command(
    path: Path, out: Path | None, *, dry_run: bool, decoding: str | None, as_json: bool, overrides: Sequence[str]
) -> None:
    """Run what is missing of a sweep, and compare its cases. Raises RunError after all others where a run failed."""
    runs = load_sweep(path, overrides)
    if dry_run:
        _dry_run(runs, out, as_json=as_json)
        return
    if out is None:
        raise RunError("creditree sweep needs a directory: add --out DIR, or --dry-run to look first.")
    shown = progress_console(stderr=as_json)
    with claimed(out, "--out") as lock, HeldDirectory(out, lock) as held:
        recover(out)
        _check_held(runs, out)
        with continuing(f"what is done is kept in {out}: repeat the command to continue"):
            failures = _run_all(runs, out, shown)
        record = _written(runs, held, failures, {"sweep": str(path)}, decoding, None if as_json else shown)
    if as_json:
        print_json(record)
    if failures:
        first = failures[0]
        raise RunError(
            f"{len(failures)} of {len(runs)} runs failed; the first: {first.run.case}, seed {first.run.seed}: "
            f"{first.reason}"
        )


def _written(
    runs: Sequence[SweepRun],
    held: HeldDirectory,
    failures: Sequence[_Failure],
    head: dict[str, Any],
    decoding: str | None,
    shown: Console | None,
) -> dict[str, Any]:
    """Return the record of a sweep; where any run has ended, write it, and show its tables where that is wanted."""
    out = held.path
    finished = [_swept(run, out) for run in runs if _state(run, out) == "done"]
    record = head | {"runs": [_run_json(run, out, failures) for run in runs]}
    if finished:
        chosen = shared_decoding([one.run.summary.decoding for one in finished], decoding)
        record |= sweep_json(finished, chosen)
        held.write_text(REPORT, sweep_markdown(finished, chosen))
        if shown is not None:
            shown.print(sweep_view(finished, chosen))
            shown.print(f"\nSaved: figures in {out / RESULT}, tables in {out / REPORT}.")
        held.write_json(RESULT, record)
    return record


def _run_all(runs: Sequence[SweepRun], out: Path, shown: Console) -> list[_Failure]:
    """Run what has not ended, continuing what was started; return what failed.

    Raises Interrupted, and StorageError where the disk is full, say: the next run would meet the same.
    """
    missing = [run for run in runs if _state(run, out) != "done"]
    shown.print(f"{len(runs)} runs, {len(runs) - len(missing)} done already")
    failures = []
    for number, run in enumerate(missing, 1):
        shown.print(f"\nrun {number} of {len(missing)}: {run.case}, seed {run.seed}", soft_wrap=True)
        try:
            train_into(run.config, out / run.folder, shown, resume=True)
        except StorageError:
            raise
        except CreditreeError as error:
            shown.print(f"failed: {error}", soft_wrap=True)
            failures.append(_Failure(run, str(error)))
            continue
        gc.collect()  # a model refers to itself, and the next run loads its own
    return failures


def _state(run: SweepRun, out: Path | None) -> State:
    if out is None or not os.path.lexists(out / run.folder / "config.yaml"):
        return "new"
    return "done" if os.path.lexists(out / run.folder / "summary.json") else "started"


def _check_held(runs: Sequence[SweepRun], out: Path) -> None:
    """Raise RunError, before anything runs, where the directory holds a run of another configuration."""
    for run in runs:
        if _state(run, out) == "new":
            continue
        held = RunDirectory.read(out / run.folder)
        recorded = parse_config(held.config_yaml, str(held.path / "config.yaml"))
        config, _ = resolved(started(run.config), recorded=recorded)
        difference = describe_difference(held.config_yaml, dump_config(settled(config)))
        if difference:
            raise RunError(
                f"{out / run.folder} was made with another configuration: {difference}; repeat the sweep as it was, or "
                "choose another directory with --out."
            )


def _swept(run: SweepRun, out: Path) -> SweptRun:
    name = f"{run.case}, seed {run.seed}"
    return SweptRun(ComparedRun.of(RunDirectory.read(out / run.folder), name, run.case), run.seed)


def _run_json(run: SweepRun, out: Path | None, failures: Sequence[_Failure] = ()) -> dict[str, Any]:
    reason = next((failure.reason for failure in failures if failure.run is run), None)
    record: dict[str, Any] = {
        "case": run.case,
        "seed": run.seed,
        "keys": dict(run.keys),
        "path": str(run.folder if out is None else out / run.folder),
        "state": _state(run, out) if reason is None else "failed",
    }
    if reason is not None:
        return record | {"reason": reason}
    if out is not None and record["state"] == "done":
        held, name = RunDirectory.read(out / run.folder), "summary.json"
        summary = Summary.from_json(held.read_json(name), str(held.path / name)).to_json()
        record |= {name: summary[name] for name in ("method", "task", "before", "after", "difference", "tokens")}
    return record


def _dry_run(runs: Sequence[SweepRun], out: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"runs": [_run_json(run, out) for run in runs]})
        return
    states = [_state(run, out) for run in runs]
    shown = console()
    for run, state in zip(runs, states, strict=True):
        shown.print(f"{state:8} {run.folder}", soft_wrap=True)
    steps = sum(run.config.train.steps for run, state in zip(runs, states, strict=True) if state != "done")
    shown.print(f"{len(runs)} runs, {states.count('done')} done; up to {steps:,} training steps to go")
