"""What trains, or is asked before one trains: configuration, plan, run, pilot and sweep."""

from pathlib import Path
from typing import Any

from creditree.api.arguments import AnyPath, Configured, loaded, path_of, text_of, told, values_of
from creditree.config.keywords import as_overrides, written
from creditree.config.schema import RunConfig
from creditree.engines.native.library import prepare
from creditree.pilot.request import Request as PilotRequest
from creditree.pilot.request import bytes_of, seconds_of
from creditree.pilot.stages import Piloted
from creditree.pilot.stages import pilot as pilot_request
from creditree.report.watcher import Watcher
from creditree.setup.machine import default_device
from creditree.setup.plan import Plan
from creditree.setup.plan import plan as plan_config
from creditree.setup.request import TrainRequest
from creditree.setup.run import Run
from creditree.setup.training import tell_of_start, train_into
from creditree.sweep.call import sweep as sweep_request
from creditree.sweep.request import SweepRequest
from creditree.sweep.running import Swept
from creditree.sweep.searching import Searched


def load_config(config: Configured, **overrides: Any) -> RunConfig:
    """Return the checked configuration, with keywords such as ``steps=200`` set. Raises ConfigError."""
    return loaded(TrainRequest(values_of(config), overrides=as_overrides(overrides)), config, overrides)


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
        config=None if values is None else values_of(values),
        start=text_of(start),
        data=text_of(data),
        guard=text_of(guard),
        overrides=as_overrides(overrides),
        trusted=trust,
    )
    prepare()
    checked, run, watching = loaded(request, values, overrides), Path(directory), told(watcher)
    if resume:
        tell_of_start(run, watching)
    train_into(checked, run, watching, resume=resume, workers=workers)
    return Run(run)


def plan(config: Configured, *, prompt_tokens: int | None = None, **overrides: Any) -> Plan:
    """Predict the memory and work of a run, without loading its model; ``memory="8GB"`` is a limit."""
    return plan_config(load_config(config, **overrides), prompt_tokens)


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
        guard=path_of(guard),
        metrics=tuple(metrics),
        by=by,
        seed=seed,
        overrides=as_overrides(overrides),
    )
    return pilot_request(request, told(watcher))


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
    return sweep_request(request, told(watcher))
