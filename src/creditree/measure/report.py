"""The report of runs as one HTML file, and its charts as pictures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from creditree.disk import content, is_file, is_there
from creditree.errors import RunError, did_you_mean
from creditree.measure.compare import compare
from creditree.overview.overview import Overview
from creditree.overview.run import MOST_TOKENS, SUMMARY, forests_of, overview_of
from creditree.overview.trees import ShownForest
from creditree.report.page.page import report_html
from creditree.report.page.pictures import write_pictures
from creditree.runs.atomic import text_bytes, write_bytes, writing
from creditree.runs.directory import RunDirectory
from creditree.runs.setting import labels_of
from creditree.train.page import PAGE

AnyPath = str | PathLike[str]
LAST = "last"
MOST_NAMED = 8
CURE = "free it, or choose another file with `out`"


@dataclass(frozen=True, slots=True)
class Reported:
    """What was written: the page, and the pictures of its charts."""

    page: Path
    figures: tuple[Path, ...]


def report(*runs: AnyPath, out: AnyPath | None = None, figures: AnyPath | None = None) -> Reported:
    """Write the report of one run, or of several side by side; `out`: by default ``report.html`` in the only run.

    `figures`: a directory for every chart as PNG and SVG. Raises RunError where there is no run, one cannot be read,
    or nothing can be written.
    """
    paths = [Path(run) for run in runs]
    if not paths:
        raise RunError("a report needs at least one run directory; name one.")
    if out is None and len(paths) > 1:
        raise RunError("a report of several runs needs a file of its own: name it with `out`, such as both.html.")
    overview = overview_of_runs(paths)
    page = paths[0] / PAGE if out is None else Path(out)
    if out is not None:
        _refuse_other(page)
    with writing(page, CURE):
        page.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(page, text_bytes(report_html(overview)), CURE)
    return Reported(page, () if figures is None else write_pictures(overview, Path(figures)))


def _refuse_other(page: Path) -> None:
    """Raise RunError for a file that is no page: a report is made again, and nothing else is written over."""
    start = content(page)[:64].lstrip().lower() if is_file(page) else b""
    if start and not start.startswith(b"<!doctype html"):
        raise RunError(f"{page} is there already and is no report; choose another file with `out`, or move it away.")


def overview_of_runs(paths: Sequence[Path]) -> Overview:
    """Read runs for a report; those of one method that differ in their seed only are averaged over."""
    tokens = MOST_TOKENS // len(paths)
    names = _names(paths)
    runs = tuple(replace(overview_of(path, tokens=tokens), name=names[str(path)]) for path in paths)
    ended = [path for path in paths if is_there(path / SUMMARY)]
    if len(ended) < 2:
        return Overview(runs)
    compared = compare(ended)
    labels = labels_of([run.setting for run in runs], [run.name for run in runs])
    groups = {str(path): label if labels.count(label) > 1 else "" for path, label in zip(paths, labels, strict=True)}
    measured = tuple(replace(run, name=names[run.name], group=groups[run.name]) for run in compared.measured)
    return Overview(runs, measured, compared.decoding, compared.damages)


def _names(paths: Sequence[Path]) -> dict[str, str]:
    """Return what runs are called, by path: the last part where several are told apart by it."""
    last = {str(path): os.path.basename(os.path.abspath(path)) for path in paths}
    return last if len(paths) > 1 and len(set(last.values())) == len(last) else {str(path): str(path) for path in paths}


def stored_tree(path: Path, step: str, problem: str | None) -> ShownForest:
    """Return the trees of a problem (None: the first) in a step: a number, or ``last``.

    Raises RunError where there is no such step, or no such problem in it.
    """
    run = RunDirectory.read(path)
    steps = run.rollout_steps()
    if not steps:
        raise RunError(f"Run {path} kept no completions; train with log.rollouts_every=1, say, to keep some.")
    chosen = steps[-1] if step == LAST else int(step) if step.isdecimal() else -1
    if chosen not in steps:
        kept = ", ".join(map(str, steps[:MOST_NAMED])) + (f", ... {steps[-1]}" if len(steps) > MOST_NAMED else "")
        raise RunError(f"step '{step}' of {path} was not kept; there are {kept}, and `{LAST}`.")
    forests = forests_of(run, chosen)
    ids = [forest.problem_id for forest in forests]
    if not forests:
        raise RunError(f"in step {chosen} of {path} no problem reached the learner; choose another step.")
    if problem is not None and problem not in ids:
        raise RunError(f"step {chosen} has no problem '{problem}'.{did_you_mean(problem, ids)}")
    return forests[0 if problem is None else ids.index(problem)]
