"""A grid of configurations and seeds, one run after the other, and the table that they end in."""

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import RenderableType

from creditree.config.load import parse_config
from creditree.config.sweep import SweepRun, load_sweep
from creditree.disk import is_folder
from creditree.errors import CreditreeError, RunError
from creditree.evaluate.compare import Measured
from creditree.evaluate.summary import Summary
from creditree.measure.compare import shared_decoding
from creditree.report.sweep import SweptRun, sweep_json, sweep_markdown, sweep_view
from creditree.report.watcher import Watcher
from creditree.runs.atomic import StorageError
from creditree.runs.checksums import Checksums
from creditree.runs.difference import describe_difference
from creditree.runs.directory import RunDirectory
from creditree.runs.held import HeldDirectory, occupied
from creditree.setup.resolve import resolve
from creditree.setup.training import train_into
from creditree.sweep.request import REPORT, RESULT, SweepRequest
from creditree.train.interrupt import continuing

State = Literal["new", "started", "done"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed, and why."""

    run: SweepRun
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Swept:
    """What a sweep found. `record` is all of it, as JSON.

    `finished`: the runs that have ended, which are compared under `decoding`.
    """

    record: Mapping[str, Any]
    out: Path
    finished: tuple[SweptRun, ...]
    failures: tuple[Failure, ...]
    decoding: str | None

    def view(self) -> RenderableType | None:
        """Return the tables for a terminal; None where no run has ended."""
        return None if self.decoding is None or not self.finished else sweep_view(self.finished, self.decoding)

    def check(self) -> None:
        """Raise RunError where a run failed."""
        if self.failures:
            first = self.failures[0]
            raise RunError(
                f"{len(self.failures)} of {len(self.record['runs'])} runs failed; the first: {first.run.case}, seed "
                f"{first.run.seed}: {first.reason}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return all that was found."""
        return dict(self.record)


def sweep(request: SweepRequest, watcher: Watcher) -> Swept:
    """Run what is missing of a sweep, and compare its cases; a run that fails is noted, and the others go on.

    Raises ConfigError before anything runs, StorageError where the next run would meet the same, and Interrupted where
    a signal stopped it: the same request goes on.
    """
    runs, out = load_sweep(request.path, request.overrides), request.out
    _check_free(runs, out)
    with HeldDirectory.open(out) as directory:
        _check_held(runs, out)
        with continuing(f"what is done is kept in {out}: repeat the command to continue"):
            failures = _run_all(runs, out, watcher, request.workers)
        return _written(runs, directory, failures, request)


def _written(
    runs: Sequence[SweepRun], directory: HeldDirectory, failures: Sequence[Failure], request: SweepRequest
) -> Swept:
    """Return what a sweep found; where any run has ended, write it."""
    out, decoding = directory.path, request.decoding
    finished = [_swept(run, out) for run in runs if state_of(run, out) == "done"]
    record = {"sweep": str(request.path), "runs": [run_json(run, out, failures) for run in runs]}
    if finished:
        decoding = shared_decoding([run.run.decodings for run in finished], decoding)
        record |= sweep_json(finished, decoding)
        directory.write_text(REPORT, sweep_markdown(finished, decoding))
        directory.write_json(RESULT, record)
    return Swept(record, out, tuple(finished), tuple(failures), decoding)


def _run_all(runs: Sequence[SweepRun], out: Path, watcher: Watcher, workers: int | None) -> list[Failure]:
    """Run what has not ended, continuing what was started; return what failed.

    Raises Interrupted, and StorageError where the disk is full, say: the next run would meet the same.
    """
    missing = [run for run in runs if state_of(run, out) != "done"]
    watcher.message(f"{len(runs)} runs, {len(runs) - len(missing)} done already")
    failures = []
    for number, run in enumerate(missing, 1):
        watcher.message(f"\nrun {number} of {len(missing)}: {run.case}, seed {run.seed}")
        try:
            train_into(run.config, out / run.folder, watcher, resume=True, workers=workers)
        except StorageError:
            raise
        except CreditreeError as error:
            watcher.message(f"failed: {error}")
            failures.append(Failure(run, str(error)))
            continue
        gc.collect()  # a model refers to itself, and the next run loads its own
    return failures


def state_of(run: SweepRun, out: Path | None) -> State:
    """Return how far a run of the sweep in `out` is."""
    if out is None or not os.path.lexists(out / run.folder / "config.yaml"):
        return "new"
    return "done" if os.path.lexists(out / run.folder / "summary.json") else "started"


def _check_free(runs: Sequence[SweepRun], out: Path) -> None:
    """Raise RunError where a result in the directory is of no sweep: it would be written over."""
    if any(state_of(run, out) != "new" for run in runs):
        return
    ours = Checksums(out).recorded() if is_folder(out) else {}
    other = occupied(out, (name for name in (RESULT, REPORT) if name not in ours))
    if other is not None:
        raise RunError(
            f"Directory {out} holds {other} but no run of the sweep, and it would be written over; move it away, or "
            "choose another directory with `out`."
        )


def _check_held(runs: Sequence[SweepRun], out: Path) -> None:
    """Raise RunError, before anything runs, where the directory holds a run of another configuration."""
    for run in runs:
        if state_of(run, out) == "new":
            continue
        directory = RunDirectory.read(out / run.folder)
        recorded = parse_config(directory.config_yaml, str(directory.path / "config.yaml"))
        difference = describe_difference(directory.config_yaml, resolve(run.config, recorded=recorded).yaml)
        if difference:
            raise RunError(
                f"{out / run.folder} was made with another configuration: {difference}; repeat the sweep as it was, or "
                "choose another directory with `out`."
            )


def _swept(run: SweepRun, out: Path) -> SweptRun:
    name = f"{run.case}, seed {run.seed}"
    return SweptRun(Measured.of_run(RunDirectory.read(out / run.folder), name, run.case), run.seed)


def run_json(run: SweepRun, out: Path | None, failures: Sequence[Failure] = ()) -> dict[str, Any]:
    """Return a run of a sweep as JSON."""
    reason = next((failure.reason for failure in failures if failure.run is run), None)
    record: dict[str, Any] = {
        "case": run.case,
        "seed": run.seed,
        "keys": dict(run.keys),
        "path": str(run.folder if out is None else out / run.folder),
        "state": state_of(run, out) if reason is None else "failed",
    }
    if reason is not None:
        return record | {"reason": reason}
    if out is not None and record["state"] == "done":
        directory, name = RunDirectory.read(out / run.folder), "summary.json"
        summary = Summary.from_json(directory.read_json(name), str(directory.path / name)).to_json()
        record |= {name: summary[name] for name in ("method", "task", "before", "after", "difference", "tokens")}
    return record
