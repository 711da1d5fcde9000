"""The Python door: procedures as functions, with the command line's meaning. ``import creditree`` has all of them."""

import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from creditree.config.instances import check_made, named
from creditree.config.keywords import as_overrides, written
from creditree.config.schema import RunConfig
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
from creditree.measure.report import report as report
from creditree.measure.target import EvaluationRequest
from creditree.monitor.baseline import MonitorRequest
from creditree.monitor.call import MonitorResult
from creditree.monitor.call import monitor as monitor_request
from creditree.pilot.request import Request as PilotRequest
from creditree.pilot.request import bytes_of, seconds_of
from creditree.pilot.stages import Piloted
from creditree.pilot.stages import pilot as pilot_request
from creditree.report.plain import PlainConsole
from creditree.report.shown import Shown
from creditree.report.watcher import Watcher
from creditree.setup.machine import default_device
from creditree.setup.plan import Plan
from creditree.setup.plan import plan as plan_config
from creditree.setup.request import TrainRequest
from creditree.setup.run import Run
from creditree.setup.training import train_into
from creditree.sweep.call import sweep as sweep_request
from creditree.sweep.request import SweepRequest
from creditree.sweep.running import Swept
from creditree.sweep.searching import Searched

AnyPath = str | PathLike[str]
Configured = AnyPath | Mapping[str, Any] | RunConfig
"""A configuration: the path of a YAML file, its values, or one that was loaded."""


def load_config(config: Configured, **overrides: Any) -> RunConfig:
    """Return the checked configuration, with keywords such as ``steps=200`` set. Raises ConfigError."""
    return _loaded(TrainRequest(_config(config), overrides=as_overrides(overrides)), config, overrides)


def _loaded(request: TrainRequest, config: Configured | None, overrides: Mapping[str, Any]) -> RunConfig:
    loaded = request.load()
    check_made(loaded, *([config] if isinstance(config, Mapping) else []), overrides)
    return loaded


def train(
    config: Configured | None = None,
    directory: AnyPath | None = None,
    *,
    start: AnyPath | None = None,
    data: AnyPath | None = None,
    guard: AnyPath | None = None,
    workers: int | None = None,
    resume: bool = False,
    trust: bool = False,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> Run:
    """Train into a run directory, measure before and after, and return the run.

    `config`: a YAML file or values; None: with `start` that of the run to go on from, else the keywords alone. `start`:
    run or adapter to go on learning from;  `data`, `guard`: files of the task's problems, and of those that must not
    get worse;  `workers`: how many processes do the work, on a Ray cluster or on this machine (None: this one alone);
    `resume`: go on with the run that is there, if any;  `trust`: code that the run `start` names may run;  `watcher`:
    who is told (None: standard error). A piece of the method may be an instance
    (``method={"select": MySelection(k=3)}``). Raises ConfigError, DataError, ModelError or RunError.
    """
    if directory is None:
        raise TypeError("train() needs the directory of the run: train(config, directory)")
    values: Configured | None = {} if config is None and start is None else config
    request = TrainRequest(
        config=None if values is None else _config(values),
        start=_text(start),
        data=_text(data),
        guard=_text(guard),
        overrides=as_overrides(overrides),
        trusted=trust,
    )
    prepare()
    loaded = _loaded(request, values, overrides)
    train_into(loaded, Path(directory), _told(watcher), resume=resume, workers=workers)
    return Run(Path(directory))


def evaluate(
    target: AnyPath,
    task: str | None = None,
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

    `target`: a run, its directory, an adapter's, or a model's name;  `task`: default: the run's;  `out`: directory to
    keep the results in;  `reward`: who judges, as in a configuration, or a function of a file.
    Raises ConfigError, DataError, ModelError or RunError.
    """
    request = EvaluationRequest(
        target=str(target),
        task=task,
        suite=suite,
        data=_text(data),
        data_dir=_path(data_dir),
        problems=problems,
        temperatures=None if temperatures is None else tuple(temperatures),
        samples=samples,
        ks=None if k is None else tuple(sorted(set(k))),
        max_new_tokens=max_new_tokens,
        split=split,
        out=_path(out),
        base=base,
        trusted=trust,
        workers=workers,
        overrides=(*reward_override(reward), *as_overrides(overrides)),
    )
    return evaluate_request(request, _told(watcher))


def compare(*runs: AnyPath, decoding: str | None = None, by_method: bool = False) -> Comparison:
    """Compare finished runs or saved evaluations, paired by problem; `by_method`: average those of a method."""
    return compare_paths([Path(run) for run in runs], decoding=decoding, by_method=by_method)


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
    request = ExportRequest(Path(run), _path(merged), _path(adapter), _path(gguf), _path(converter))
    return export_request(request, _told(watcher))


def plan(config: Configured, *, prompt_tokens: int | None = None, **overrides: Any) -> Plan:
    """Predict the memory and work of a run, without loading its model; ``memory="8GB"`` is a limit."""
    return plan_config(load_config(config, **overrides), prompt_tokens)


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
    known = _path(subject) if isinstance(subject, str | PathLike) else None if subject is None else _config(subject)
    return doctor_request(DoctorRequest(known, as_overrides(overrides), probe), _told(watcher))


def pilot(
    problems: AnyPath,
    model: str,
    out: AnyPath = "pilots/pilot",
    *,
    budget: str = "30m",
    guard: AnyPath | None = None,
    metrics: tuple[str, ...] = (),
    by: str | None = None,
    reward: Any = None,
    prompt: str | None = None,
    question: str = "question",
    answer: str | None = None,
    max_new_tokens: int | None = None,
    memory: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> Piloted:
    """Find out on your own problems whether training helps: check, measure, try, train, test, report.

    What lies in `out` is gone on with, under the same request.
    """
    prepare()
    request = PilotRequest(
        problems=Path(problems),
        model=model,
        budget_s=seconds_of(budget),
        out=Path(out),
        device=device or default_device(),
        memory=bytes_of(memory),
        dtype=dtype,
        question=question,
        answer=answer,
        prompt=prompt,
        reward=reward if reward is None or isinstance(reward, str) else written("reward", reward),
        max_new_tokens=max_new_tokens,
        guard=_path(guard),
        metrics=tuple(metrics),
        by=by,
        seed=seed,
        overrides=as_overrides(overrides),
    )
    return pilot_request(request, _told(watcher))


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
        state=_path(state),
        trusted=trust,
        overrides=as_overrides(overrides),
    )
    return monitor_request(request, _told(watcher))


def sweep(
    config: AnyPath,
    out: AnyPath,
    *,
    decoding: str | None = None,
    workers: int | None = None,
    watcher: Watcher | None = None,
    **overrides: Any,
) -> Swept | Searched:
    """Train every combination of a sweep's settings and seeds, and compare the cases; a failed run stops no other.

    A file with compositions is a search: successive halving within its budget, then the best against the baseline on
    fresh seeds (`.winner`, `.conclusion()`). What lies in `out` is gone on with.
    """
    prepare()
    request = SweepRequest(Path(config), Path(out), decoding, as_overrides(overrides), workers)
    return sweep_request(request, _told(watcher))


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


def _told(watcher: Watcher | None) -> Watcher:
    return Shown(PlainConsole(sys.stderr)) if watcher is None else watcher


def _config(config: Configured) -> Path | Mapping[str, Any]:
    """Return the file, or the values that are set: what is not may still be chosen."""
    if isinstance(config, RunConfig):
        return config.model_dump(mode="json", exclude_unset=True)
    return named(config) if isinstance(config, Mapping) else Path(config)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _text(path: AnyPath | None) -> str | None:
    return None if path is None else str(path)
