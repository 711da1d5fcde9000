"""What a monitor is asked, and what it compares with: a finished run and the accuracy that it measured."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from creditree.config.load import check_config, parse_values
from creditree.config.overrides import apply_overrides
from creditree.config.schema import RunConfig
from creditree.config.trust import check_trust, without_pieces
from creditree.disk import is_folder
from creditree.engines.engine import Sampling
from creditree.errors import ConfigError, ModelError, RunError, check_choice
from creditree.runs.difference import describe_difference
from creditree.runs.directory import RunDirectory
from creditree.setup.build import build_prompt
from creditree.train.start import check_trained, run_of


@dataclass(frozen=True, slots=True)
class MonitorRequest:
    """What is asked for: an adapter, fresh problems, and how they are measured and tested."""

    target: str
    data: str
    decoding: str | None = None
    margin: float = 0.0
    alpha: float = 0.05
    samples: int = 1
    problems: int | None = None
    base: bool = False
    stop_early: bool = False
    state: Path | None = None
    trusted: bool = False
    overrides: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ConfigError for numbers that make no test."""
        if not 0 <= self.margin < 1:
            raise ConfigError(f"`margin` is {self.margin}: it is a share such as 0.05, from 0 to below 1.")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"`alpha` is {self.alpha}: it is a chance such as 0.05, between 0 and 1.")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run's own measurement of what it trained, under one decoding: `successes` of `n` problems.

    `truncated` and `statuses` count its completions, one a problem; None where the run did not record them.
    """

    run: RunDirectory
    config: RunConfig
    decoding: str
    temperature: float
    successes: int
    n: int
    truncated: int | None
    statuses: Mapping[str, int] | None


def find_baseline(target: str, decoding: str | None, overrides: Sequence[str], *, trusted: bool = False) -> Baseline:
    """Return the baseline of a run, of the adapter or model folder in it, or of the run in a pilot's folder.

    `decoding` is None for the run's first; `trusted`: code that the run names may run. Overrides may say where and how
    fast things run, not what is measured.
    Raises ModelError where there is no finished run, ConfigError for an unknown decoding or a refused override, and
    RunError for files of the run that cannot be used.
    """
    run = RunDirectory.read(_run_folder(target))
    if not is_folder(run.trained) or not run.has("evaluation.json"):
        raise ModelError(f"run '{run.path}' has no baseline yet: it has not ended; continue it with `resume` first.")
    check_trained(run.trained)
    results = run.read_json("evaluation.json").get("after")
    if not isinstance(results, dict) or not results:
        raise ModelError(f"run '{run.path}' has no baseline yet: it has not ended; continue it with `resume` first.")
    config = _config(run, overrides, trusted=trusted)
    names = {Sampling(temperature).name: temperature for temperature in config.evaluation.temperatures}
    name = decoding or next(iter(names))
    check_choice("`decoding`", name, [known for known in names if known in results])
    correct = _correct(results[name], run.path)
    return Baseline(run, config, name, names[name], sum(correct), len(correct), *_recorded(run, name))


def _run_folder(target: str) -> Path:
    """Return the run that `target` is, is a part of, or contains. Raises ModelError where there is none."""
    run = run_of(target)
    if run is None:
        raise ModelError(
            f"'{target}' is no run, nor the adapter of one: its baseline, evaluation.json, is not at hand; "
            "name the directory of the run."
        )
    return run


def _config(run: RunDirectory, overrides: Sequence[str], *, trusted: bool) -> RunConfig:
    where = str(run.path / "config.yaml")
    values = without_pieces(parse_values(run.config_yaml, where))
    used = {key: values.get(key) for key in ("reward", "engine")}
    check_trust(used, f"run '{run.path}'", overrides, trusted=trusted)
    own = check_config(values, where)
    config = check_config(apply_overrides(deepcopy(values), overrides), where)
    difference = describe_difference(_defining(own), _defining(config))
    if difference:
        raise ConfigError(
            f"`overrides` changes what is measured: {difference}; a baseline is compared with the same measurement "
            "only, so set no more than where and how fast it runs, such as model.device or train.max_rows."
        )
    return config


def _defining(config: RunConfig) -> str:
    """Return what makes a measurement what it is, as YAML.

    The base model's name is not in it: on another machine the same model may lie elsewhere. Columns are left out for
    the same reason: a fresh file may call them otherwise.
    """
    return yaml.safe_dump(
        {
            "seed": config.seed,
            "model": {"dtype": config.model.dtype},
            "task": {"name": config.task.name, "prompt": prompt_values(config)},
            "reward": config.reward.written,
            "sampling": config.sampling.model_dump(mode="json"),
            "evaluation": {"temperatures": config.evaluation.temperatures},
        }
    )


def prompt_values(config: RunConfig) -> dict[str, Any]:
    """Return the whole wording of the prompt, as settings record it."""
    prompt = build_prompt(config.task)
    return {"text": prompt.text, "chat": prompt.chat, "system": prompt.system}


def _correct(values: object, run: Path) -> list[int]:
    correct = [value for value in values.values() if value is not None] if isinstance(values, dict) else []
    if not correct or not all(type(value) is int and value in (0, 1) for value in correct):
        raise RunError(f"{run / 'evaluation.json'} does not hold 0 or 1 for every problem; choose another run.")
    return correct


def _recorded(run: RunDirectory, decoding: str) -> tuple[int | None, dict[str, int] | None]:
    """Return how many of the baseline's completions were truncated, and their statuses, where the run says."""
    summary: Mapping[str, Any] = run.read_json("summary.json") if run.has("summary.json") else {}
    truncated, statuses = (_entry(summary.get(name), decoding) for name in ("truncated", "statuses"))
    return truncated if isinstance(truncated, int) else None, statuses if isinstance(statuses, dict) else None


def _entry(table: object, name: str) -> object:
    return table.get(name) if isinstance(table, dict) else None
