"""A sweep, whichever it is: a grid of settings and seeds, or a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.config.search import Search, is_search, load_search
from creditree.config.sweep import SweepRun, load_sweep
from creditree.report.search import trials_json
from creditree.report.watcher import Watcher
from creditree.report.wording import count
from creditree.sweep.request import SweepRequest
from creditree.sweep.running import Swept, run_json, state_of
from creditree.sweep.running import sweep as swept
from creditree.sweep.searching import Searched, search


def sweep(request: SweepRequest, watcher: Watcher) -> Swept | Searched:
    """Run what is missing of a sweep: a search where its file names compositions, else a grid or cases with seeds."""
    return search(request, watcher) if is_search(request.path) else swept(request, watcher)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a sweep would run: as JSON, and line by line."""

    record: dict[str, Any]
    lines: tuple[str, ...]


def listed(path: Path, overrides: Sequence[str], out: Path | None) -> Listing:
    """Return what a sweep would run, and how far it is in `out`; every configuration is checked."""
    if is_search(path):
        return _search_listing(load_search(path, overrides), out)
    return _grid_listing(load_sweep(path, overrides), out)


def _grid_listing(runs: Sequence[SweepRun], out: Path | None) -> Listing:
    states = [state_of(run, out) for run in runs]
    steps = sum(run.config.train.steps for run, state in zip(runs, states, strict=True) if state != "done")
    lines = [f"{state:8} {run.folder}" for run, state in zip(runs, states, strict=True)]
    lines.append(f"{len(runs)} runs, {states.count('done')} done; up to {steps:,} training steps to go")
    return Listing({"runs": [run_json(run, out) for run in runs]}, tuple(lines))


def _search_listing(search: Search, out: Path | None) -> Listing:
    rungs = [{"tokens": rung.tokens, "slots": rung.slots} for rung in search.rungs]
    lines = [f"{trial.name}  {trial.setting}" for trial in search.trials]
    lines += [
        f"rung {n}: {rung.slots} trials, {count(rung.tokens)} tokens each" for n, rung in enumerate(search.rungs, 1)
    ]
    if search.seeds:
        lines.append(f"confirmation: the best and the baseline with seeds {', '.join(map(str, search.seeds))}")
    record = {"trials": trials_json(search, out), "rungs": rungs, "seeds": list(search.seeds)}
    return Listing(record, tuple(lines))
