"""The best trial of a search against the baseline's: fresh seeds, the test split, equal tokens and equal seconds."""

import gc
from collections.abc import Mapping

from creditree.config.schema import RunConfig
from creditree.config.search import Search, Trial
from creditree.config.sweep import folder_name
from creditree.disk import is_there
from creditree.errors import CreditreeError, RunError
from creditree.evaluate.compare import Measured
from creditree.measure.compare import shared_decoding
from creditree.report.search import BudgetMark, Climbed, Confirmation
from creditree.report.sweep import SweptRun
from creditree.report.watcher import Watcher
from creditree.runs.atomic import StorageError
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into
from creditree.sweep.request import SweepRequest

FOLDER = "confirm"


def confirmed(search: Search, last: Climbed, request: SweepRequest, watcher: Watcher) -> Confirmation | None:
    """Run what is missing of the confirmation: for each seed the baseline and the best up to the last rung's tokens,
    and the best for as long as the baseline took with that seed.

    Seconds are the processor's on a CPU, else wall seconds, in both of training only. A run that fails ends it: the
    reason is part of what is returned. None where the search left nothing to compare.
    """
    kept = [search.trial(name) for name in last.kept]
    best = next((trial for trial in kept if trial.composition != search.baseline), None)
    baseline = next((trial for trial in kept if trial.composition == search.baseline), None)
    if best is None or baseline is None:
        watcher.message("nothing is confirmed: every trial of the baseline, or of all others, failed")
        return None
    runs: dict[str, list[SweptRun]] = {"baseline": [], "tokens": [], "seconds": []}
    try:
        for number, seed in enumerate(search.seeds, 1):
            watcher.message(f"\nconfirmation, seed {seed} ({number} of {len(search.seeds)})")
            equal = {"tokens": last.tokens}
            spent = _run(baseline, baseline.name, seed, equal, request, watcher)
            runs["baseline"].append(spent)
            runs["tokens"].append(_run(best, best.name, seed, equal, request, watcher))
            case = f"{best.name}, seconds of {baseline.name}"
            runs["seconds"].append(_run(best, case, seed, _seconds(baseline, spent), request, watcher))
    except StorageError:
        raise
    except CreditreeError as error:
        return Confirmation(best, baseline, reason=str(error))
    every = [run for swept in runs.values() for run in swept]
    decoding = shared_decoding([run.run.decodings for run in every], request.decoding)
    marks = tuple(BudgetMark(what, (*runs["baseline"], *runs[what]), decoding) for what in ("tokens", "seconds"))
    try:
        for mark in marks:
            mark.to_json()
    except RunError as error:  # a file that was edited meanwhile
        return Confirmation(best, baseline, reason=str(error))
    return Confirmation(best, baseline, marks)


def _seconds(baseline: Trial, spent: SweptRun) -> Mapping[str, object]:
    """Return the limit of a run that takes as long as one of the baseline."""
    on_cpu = baseline.config.model.device == "cpu"
    key, name = ("cpu_seconds", "train_cpu") if on_cpu else ("seconds", "train")
    return {key: spent.summary.seconds[name], "tokens": None}


def _run(
    trial: Trial, case: str, seed: int, limits: Mapping[str, object], request: SweepRequest, watcher: Watcher
) -> SweptRun:
    """Make a run of a trial with another seed and limit, unless it is there already."""
    path = request.out / FOLDER / folder_name(case) / f"seed-{seed}"
    config = _config(trial.config, seed, limits)
    if not is_there(path / "summary.json"):
        watcher.message(f"{case}, seed {seed}")
        train_into(config, path, watcher, resume=True, workers=request.workers)
        gc.collect()  # a model refers to itself, and the next run loads its own
    measured = Measured.of_run(RunDirectory.read(path), f"{case}, seed {seed}", case)
    if not measured.results:
        raise RunError(f"{path} has no evaluation.json: it cannot be compared by problem; remove it, and repeat.")
    return SweptRun(measured, seed)


def _config(config: RunConfig, seed: int, limits: Mapping[str, object]) -> RunConfig:
    train = config.train.model_copy(update=dict(limits))
    return config.model_copy(update={"seed": seed, "train": train})
