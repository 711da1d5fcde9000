"""What an evaluation is asked to measure: the target, the tasks with their problems, and how they are sampled."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from creditree.config.load import check_config, parse_config, parse_values, read_yaml
from creditree.config.overrides import apply_overrides, check_free, named_keys
from creditree.config.reward import singles_named
from creditree.config.schema import RunConfig, same_temperature
from creditree.config.task import BenchmarkConfig, FileConfig
from creditree.config.trust import check_trust, without_pieces
from creditree.disk import is_file, is_folder
from creditree.errors import ConfigError, DataError, ModelError, check_choice, did_you_mean
from creditree.evaluate.suite import SUITES
from creditree.measure.unlike import also_in_training, own_config, training_notes, wording_notes
from creditree.models.adapter import saved_spec
from creditree.models.directory import locate
from creditree.problem import Problem, ids_by_task
from creditree.report.evaluation import Apart
from creditree.runs.directory import RunDirectory
from creditree.setup.build import build_task
from creditree.setup.defaults import TOKENS
from creditree.setup.start import named_task, on_file, refuse_file
from creditree.tasks.benchmarks import BENCHMARKS
from creditree.tasks.files import READERS
from creditree.tasks.split import Split
from creditree.tasks.task import NUM_HELD_OUT, Task
from creditree.train.start import check_trained

_NEEDS_TASK = "`data` and `data_dir` need to know what they hold: add `task`, such as `task` file."
PLAIN_TOKENS = TOKENS
"""Longest completion of a plain model where the task does not say."""
OWN_KEYS: Mapping[str, str] = {
    "evaluation": "use `problems`, `temperatures` and `split`",
    "sampling.temperature": "use `temperatures`",
    "sampling.max_new_tokens": "use `max_new_tokens`",
}
"""Keys for which an evaluation has parameters, and those: a run's own say what it was trained and measured with."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is asked for; None where nothing is said. `overrides` are such as ``model.device=cuda``.

    `task`: its name, the path of a YAML file that has it, or its block, as a configuration has it;  `workers`:
    how many processes sample and judge, on a Ray cluster or this machine; None: this one alone.
    """

    target: str
    task: str | Mapping[str, Any] | None = None
    suite: str | None = None
    data: str | None = None
    data_dir: Path | None = None
    problems: int | None = None
    temperatures: tuple[float, ...] | None = None
    samples: int | None = None
    ks: tuple[int, ...] | None = None
    max_new_tokens: int | None = None
    split: str = "test"
    out: Path | None = None
    base: bool = True
    trusted: bool = False
    workers: int | None = None
    overrides: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ConfigError for options that do not go together."""
        if self.split not in get_args(Split):
            raise ConfigError(f"`split` is '{self.split}'.{did_you_mean(self.split, get_args(Split))}")
        self._check_temperatures()
        if self.suite is not None:
            check_choice("`suite`", self.suite, SUITES)
            if self.task is not None or self.data is not None:
                raise ConfigError("`suite` names its own tasks; leave out `task` and `data` (`data_dir` goes with it).")
        elif self.task is None and self.data_dir is not None:
            raise ConfigError(_NEEDS_TASK)
        if self.data is not None and self.data_dir is not None:
            raise ConfigError("`data` names a file and `data_dir` a folder of files; keep one of them.")

    def _check_temperatures(self) -> None:
        twice = same_temperature(self.temperatures or ())
        if twice is not None:
            raise ConfigError(f"`temperatures` {twice:g} is given twice; keep one of them.")
        for temperature in self.temperatures or ():
            if not isfinite(temperature):
                raise ConfigError(f"`temperatures` is {temperature}: write a number, such as 0.6; 0 is greedy.")


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """One set of problems to measure on, with `samples` completions a problem where decoding is not greedy.

    `also_in_training`: how many of them the target was trained on; None: not known. `notes`: what there is to say.
    """

    name: str
    config: RunConfig
    task: Task
    problems: tuple[Problem, ...]
    samples: int
    max_new_tokens: int
    notes: tuple[str, ...] = ()
    also_in_training: int | None = None

    @property
    def apart(self) -> Apart:
        """What is reported one by one: several rewards, and the tasks of a mixture."""
        return Apart(singles_named(self.config.reward), ids_by_task(self.problems))

    @property
    def source(self) -> str:
        """Where the problems are from: a file, a set on the hub, or a generator."""
        return self.config.task.source


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured: the configuration that says model, task and reward, and what was trained, or None.

    `own`: the configuration that it was trained with, None where that is not known.
    """

    config: RunConfig
    trained: Path | None
    own: RunConfig | None = None


def find_jobs(options: EvaluationRequest) -> tuple[list[Job], Path | None]:
    """Return the sets to measure on, and what was trained. Raises ConfigError, DataError or ModelError."""
    options.check()
    overrides = options.overrides
    check_free(overrides, OWN_KEYS, "an evaluation")
    if options.suite is None:
        target = _target(options, options.task, overrides)
        return [_job(options, target, options.samples or 1)], target.trained
    suite = SUITES[options.suite]
    if options.data_dir is not None:
        _check_folder(options.data_dir, tuple(suite.samples))
    targets = [
        (_target(options, name, overrides), options.samples or samples) for name, samples in suite.samples.items()
    ]
    jobs = [_job(options, target, samples, suite.max_new_tokens) for target, samples in targets]
    return jobs, targets[0][0].trained


def _job(options: EvaluationRequest, target: Target, samples: int, max_new_tokens: int | None = None) -> Job:
    config, own = target.config, target.own
    task = build_task(config.task)
    limit = options.problems
    if limit is None and options.data is None and not isinstance(config.task, BenchmarkConfig):
        limit = NUM_HELD_OUT
    problems = task.held_out(options.split, limit)  # type: ignore[arg-type]
    tokens = options.max_new_tokens or max_new_tokens or config.sampling.max_new_tokens
    seen = None if own is None else also_in_training(own, problems)
    worded = () if own is None else wording_notes(own, task.prompt)
    notes = (*task.notes, *worded, *training_notes(seen, len(problems)))
    return Job(task.name, config, task, problems, samples, tokens, notes, seen)


def _target(options: EvaluationRequest, task: str | Mapping[str, Any] | None, overrides: Sequence[str]) -> Target:
    path, own = Path(options.target), own_config(options.target)
    block = _block(options, task, own if os.path.lexists(path / "config.yaml") else None)
    named = _name_of(block)
    if os.path.lexists(path / "config.yaml"):
        run = RunDirectory.read(path)
        if not is_folder(run.trained):
            raise ModelError(f"run '{path}' has no adapter yet: it has not ended; continue it with `resume` first.")
        values = without_pieces(parse_values(run.config_yaml, str(path / "config.yaml")))
        if named in BENCHMARKS:
            values.pop("reward", None)
        used = {key: values.get(key) for key in ("reward", "task", "engine") if key not in block}
        check_trust(used, f"run '{path}'", overrides, trusted=options.trusted, cure=", or choose `reward`")
        check_trained(run.trained)
        return Target(_checked(values | block, str(path / "config.yaml"), overrides), run.trained, own)
    if task is None:
        raise ConfigError(
            f"'{options.target}' is no run directory, so its task is not known; add `task` NAME or `task` FILE.yaml."
        )
    is_adapter = os.path.lexists(path / "adapter_config.json")
    if is_adapter:
        check_trained(path)
    name = _base_of(path, overrides) if is_adapter else options.target
    tokens = BENCHMARKS[named].max_new_tokens if named in BENCHMARKS else PLAIN_TOKENS
    values = {"sampling": {"max_new_tokens": options.max_new_tokens or tokens}}
    return Target(_checked(values | block | {"model": {"name": name}}, options.target, overrides),
                  path if is_adapter else None, own if is_adapter else None)  # fmt: skip


def _base_of(adapter: Path, overrides: Sequence[str]) -> str:
    """Return the base model that an adapter names. Raises ModelError where it is not there and no other is given."""
    base = saved_spec(adapter)[0]
    if "model.name" in named_keys(overrides):
        return base or ""  # replaced
    cure = "say where its base model is with `overrides` model.name=DIR."
    if base is None:
        raise ModelError(f"the adapter in '{adapter}' does not say which model it belongs to; {cure}")
    try:
        locate(base)
    except ModelError as error:
        raise ModelError(f"the adapter in '{adapter}' belongs to a model that is not here ({error}); {cure}") from error
    return base


def _name_of(block: Mapping[str, Any]) -> Any:
    """Return the name of a task; None where none is given, as of a mixture, or what is given is no name."""
    task = block.get("task")
    name = task.get("name") if isinstance(task, Mapping) else None
    return name if isinstance(name, str) else None


def _given(task: object) -> dict[str, Any]:
    """Return the task (and reward) of a YAML file, of a block, or of a bare name."""
    if not isinstance(task, str):
        return {"task": dict(task) if isinstance(task, Mapping) else task}
    return _from_yaml(task) if task.endswith((".yaml", ".yml")) else {"task": {"name": task}}


def _block(options: EvaluationRequest, task: str | Mapping[str, Any] | None, own: RunConfig | None) -> dict[str, Any]:
    """Return what is asked for in the place of a run's own task (and reward); {}: nothing.

    A run on a file keeps its columns and its wording of the prompt on another file. `own`: its configuration.
    """
    if own is not None and isinstance(own.task, FileConfig) and task in (None, "file") and options.data_dir is None:
        path = options.data
        return {} if path is None else {"task": on_file(own.task, path) | _all_in(options.split)}
    if task is not None:
        return _task_block(options, task)
    if options.data is not None:
        raise ConfigError(_NEEDS_TASK)
    return {}


def _all_in(split: str) -> dict[str, float]:
    """Return the shares of a file whose problems are all of one split, but for rows that are marked."""
    return {name: 1.0 if name == split else 0.0 for name in get_args(Split)}


def _task_block(options: EvaluationRequest, task: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the task (and reward) that was given, on the file that was named."""
    block = _given(task)
    name = _name_of(block)
    if name is None:
        if options.data is not None or options.data_dir is not None:
            raise ConfigError("`data` and `data_dir` are of one task by its name, and `task` has none: leave them out.")
        return block
    refuse_file(name)
    path = options.data
    if options.data_dir is not None:
        if name not in BENCHMARKS:
            hint = did_you_mean(str(name), BENCHMARKS)
            raise ConfigError(
                f"`data_dir` holds files by benchmark, and '{name}' is none: name its file with `data`.{hint}"
            )
        _check_folder(options.data_dir, (name,))
        path = str(_file_of(options.data_dir, name))
    if path is None:
        return block
    block["task"] |= named_task(name, path)
    if name == "file":
        block["task"] |= _all_in(options.split)
    return block


def _from_yaml(task: str) -> dict[str, Any]:
    config = parse_config(read_yaml(Path(task), "`task`"), task)
    return {"task": config.task.model_dump(mode="json"), "reward": config.reward.written}


def _check_folder(folder: Path, names: Sequence[str]) -> None:
    """Raise DataError unless the folder has a file for each set: all that are missing are named at once."""
    missing = [name for name in names if _file_of(folder, name) is None]
    if missing:
        raise DataError(
            f"The folder {folder} has no {', no '.join(f'{name}.jsonl' for name in missing)} (.csv and .parquet would "
            "do): add what is missing, or leave out `data_dir` to load the sets from the hub."
        )


def _file_of(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}{suffix}" for suffix in READERS) if is_file(path)), None)


def _checked(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> RunConfig:
    return check_config(apply_overrides(dict(values), overrides), where)
