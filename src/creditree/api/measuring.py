"""What is done with runs, models and answers: measured, compared, watched, examined, exported, graded."""

from os import PathLike
from pathlib import Path
from typing import Any

from creditree.api.arguments import AnyPath, Configured, Tasked, path_of, task_of, text_of, told, values_of
from creditree.config.keywords import as_overrides
from creditree.config.trust import reward_override
from creditree.doctor.call import Checkup
from creditree.doctor.call import doctor as doctor_request
from creditree.doctor.request import DoctorRequest
from creditree.engines.native.library import prepare
from creditree.export.call import export as export_request
from creditree.export.request import Exported, ExportRequest
from creditree.measure.compare import Comparison
from creditree.measure.compare import compare as compare_paths
from creditree.measure.evaluation import Evaluated
from creditree.measure.evaluation import evaluate as evaluate_request
from creditree.measure.grade import GradeRequest, Grades
from creditree.measure.grade import grade as grade_request
from creditree.measure.target import EvaluationRequest
from creditree.monitor.baseline import MonitorRequest
from creditree.monitor.call import MonitorResult
from creditree.monitor.call import monitor as monitor_request
from creditree.report.watcher import Watcher


def evaluate(
    target: AnyPath,
    task: Tasked | None = None,
    *,
    suite: str | None = None,
    data: AnyPath | None = None,
    data_dir: AnyPath | None = None,
    problems: int | None = None,
    temperatures: tuple[float, ...] | None = None,
    samples: int | None = None,
    k: tuple[int, ...] | None = None,
    max_new_tokens: int | None = None,
    split: str = "test",
    out: AnyPath | None = None,
    base: bool = True,
    reward: Any = None,
    workers: int | None = None,
    trust: bool = False,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> Evaluated:
    """Measure a run, an adapter or a model on held-out problems, and its base beside it.

    `target`: a run, its directory, an adapter's, or a model's name;  `task`: name, block, or function that yields
    problems (default: the run's; a block without a name sets keys of that);  `out`: directory to keep the results in;
    `reward`: who judges, as in a configuration, or a function of a file.
    Raises ConfigError, DataError, ModelError or RunError.
    """
    named, keys = task_of(task)
    request = EvaluationRequest(
        target=str(target),
        task=named,
        suite=suite,
        data=text_of(data),
        data_dir=path_of(data_dir),
        problems=problems,
        temperatures=None if temperatures is None else tuple(temperatures),
        samples=samples,
        ks=None if k is None else tuple(sorted(set(k))),
        max_new_tokens=max_new_tokens,
        split=split,
        out=path_of(out),
        base=base,
        trusted=trust,
        workers=workers,
        overrides=(*reward_override(reward), *as_overrides(keys), *as_overrides(overrides)),
    )
    return evaluate_request(request, told(watcher))


def compare(*runs: AnyPath, decoding: str | None = None, by_method: bool = False) -> Comparison:
    """Compare finished runs or saved evaluations, paired by problem; `by_method`: average those of a method."""
    return compare_paths([Path(run) for run in runs], decoding=decoding, by_method=by_method)


def monitor(
    target: AnyPath,
    fresh: AnyPath,
    *,
    decoding: str | None = None,
    margin: float = 0.0,
    alpha: float = 0.05,
    samples: int = 1,
    problems: int | None = None,
    base: bool = False,
    stop_early: bool = False,
    state: AnyPath | None = None,
    trust: bool = False,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> MonitorResult:
    """Measure a trained adapter on fresh problems, and test whether its accuracy has fallen since it was trained."""
    request = MonitorRequest(
        target=str(target),
        data=str(fresh),
        decoding=decoding,
        margin=margin,
        alpha=alpha,
        samples=samples,
        problems=problems,
        base=base,
        stop_early=stop_early,
        state=path_of(state),
        trusted=trust,
        overrides=as_overrides(overrides),
    )
    return monitor_request(request, told(watcher))


def doctor(
    subject: Configured | None = None,
    *,
    probe: bool = True,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> Checkup:
    """Say what is wrong, and what to do: of this machine, of a configuration before training, or of a run.

    `subject`: a run or its directory, or a configuration (file or values); None: the machine;  `probe`: try the first
    steps of the configuration, which loads its model.
    """
    prepare()
    known = path_of(subject) if isinstance(subject, str | PathLike) else None if subject is None else values_of(subject)
    return doctor_request(DoctorRequest(known, as_overrides(overrides), probe), told(watcher))


def export(
    run: AnyPath,
    *,
    merged: AnyPath | None = None,
    adapter: AnyPath | None = None,
    gguf: AnyPath | None = None,
    converter: AnyPath | None = None,
    watcher: Watcher | None = None,
) -> Exported:
    """Write what a run trained: a whole model (`merged`), a PEFT adapter (`adapter`), or a GGUF file (`gguf`).

    `converter`: llama.cpp's ``convert_hf_to_gguf.py``, where it is not on the path. A whole model is there once its
    log-probabilities are verified, or not at all.
    """
    request = ExportRequest(Path(run), path_of(merged), path_of(adapter), path_of(gguf), path_of(converter))
    return export_request(request, told(watcher))


def grade(
    path: AnyPath,
    grader: str = "math",
    *,
    deadline: float | None = None,
    workers: int | None = None,
    **options: Any,
) -> Grades:
    """Grade the predictions of a file; `options` are the grader's, such as ``tolerance=1e-6``."""
    written = tuple(f"{name}={'true' if value is True else value}" for name, value in options.items())
    return grade_request(GradeRequest(Path(path), grader, deadline, workers, written))
