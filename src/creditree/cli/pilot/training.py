"""The third stage of a pilot: short trials choose method and learning rate, then the training itself."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from creditree.cli.output import STOPPED
from creditree.cli.pilot.base import Base
from creditree.cli.pilot.data import Data, guard_keys
from creditree.cli.train import train_into
from creditree.config.load import check_config, dump_config
from creditree.config.pilot import Frame, Request, Setting, run_config, settings_to_try
from creditree.config.schema import RunConfig
from creditree.pilot.store import PilotDirectory
from creditree.pilot.timeline import LEAST_STEPS, RESERVE_SHARE, Pace, Timeline, divide, validations
from creditree.report.summary import Summary
from creditree.report.wording import duration, percent_interval, points_interval
from creditree.runs.directory import RunDirectory

KEPT_ROLLOUTS = 40
"""About so many steps' completions are kept."""


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A setting that was tried, and its accuracy on the validation problems before and after."""

    setting: Setting
    seconds: float
    steps: int
    summary: Summary

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON has it."""
        d = self.summary.main
        return {
            "method": self.setting.method,
            "learning_rate": self.setting.learning_rate,
            "seconds": self.seconds,
            "steps": self.steps,
            "before": d.before.value,
            "after": d.after.value,
            "difference": {
                "value": d.difference.value,
                "interval": [d.difference.interval.low, d.difference.interval.high],
            },
        }


def pace_of(data: Data, base: Base) -> Pace:
    """Return what a completion takes, and how many problems are measured."""
    sizes, seen = data.splits.sizes, base.probe
    return Pace(seen.completion_s, seen.single_s, sizes["test"], sizes["validation"], data.num_guard, seen.load_s)


def planned(request: Request, data: Data, base: Base, directory: PilotDirectory) -> Timeline:
    """Return how the time that is left is divided; decided once, and kept."""
    if not directory.has("timeline"):
        settings = settings_to_try(data.shape.num_parameters)
        left = max(0.0, request.budget_s - directory.spent_s)
        found = divide(left, pace_of(data, base), base.frame.group, len(settings))
        directory.write("timeline", {name: getattr(found, name) for name in Timeline.__slots__})
    return Timeline(**directory.read("timeline"))


def try_settings(
    request: Request, data: Data, base: Base, timeline: Timeline, directory: PilotDirectory, out: Console
) -> list[Trial]:
    """Train with each setting for a short time, and measure it on the validation problems."""
    settings = settings_to_try(data.shape.num_parameters)[: timeline.trials]
    evaluation = {"split": "validation", "problems": data.splits.sizes["validation"], "temperatures": [0.0]}
    blocks: dict[str, Mapping[str, Any]] = {"evaluation": evaluation, "log": {"rollouts_every": 0}}
    found = []
    for number, setting in enumerate(settings):
        frame = _stepped(base, timeline)
        config = run_config(request, data.files, frame, setting, timeline.trial_s, blocks)
        out.print(f"\ntrial {number + 1} of {len(settings)}: {setting.name}", markup=False)
        summary = _finished(config, directory.trial(number), out)
        d = summary.main
        out.print(
            f"validation accuracy {percent_interval(d.after.value, d.after.interval)} %, "
            f"{points_interval(d.difference.value, d.difference.interval)} points",
            markup=False,
        )
        steps = _steps(summary)
        found.append(Trial(setting, summary.seconds["train"], steps, summary))
    return found


def best_trial(trials: Sequence[Trial], preferred: Setting) -> Setting:
    """Return the setting with the highest validation accuracy, the first of equals; `preferred` without any trial."""
    if not trials:
        return preferred
    return max(trials, key=lambda trial: trial.summary.main.after.value).setting


def train_chosen(
    request: Request,
    data: Data,
    base: Base,
    timeline: Timeline,
    trials: Sequence[Trial],
    directory: PilotDirectory,
    out: Console,
) -> tuple[RunConfig, Summary]:
    """Train with the best setting for the time that is left, choosing by validation, and measure on the test."""
    if not directory.has("choice"):
        directory.write("choice", _choice(request, data, base, timeline, trials, directory))
    config = check_config(directory.read("choice")["config"], "the pilot's choice")
    out.print(f"\ntraining for {duration(config.train.seconds or 0)}", markup=False)
    return config, _finished(config, directory.run, out)


def _choice(
    request: Request,
    data: Data,
    base: Base,
    timeline: Timeline,
    trials: Sequence[Trial],
    directory: PilotDirectory,
) -> dict[str, Any]:
    setting = best_trial(trials, settings_to_try(data.shape.num_parameters)[0])
    pace = pace_of(data, base)
    left = (1 - RESERVE_SHARE) * request.budget_s - directory.spent_s - timeline.evaluation_s
    seconds = max(timeline.trial_s, LEAST_STEPS * pace.step_s(base.frame.group, timeline.problems_per_step), left)
    times = validations(seconds, pace)
    seconds -= times * pace.measuring_s(pace.validation)
    tried = next((trial for trial in trials if trial.setting == setting), None)
    step_s = tried.seconds / tried.steps if tried else pace.step_s(base.frame.group, timeline.problems_per_step)
    steps = max(1, int(seconds / step_s))
    temperatures = [0.0, base.frame.temperature][: timeline.decodings]
    blocks: dict[str, Mapping[str, Any]] = {
        "evaluation": {"problems": timeline.test, "temperatures": temperatures},
        "log": {"rollouts_every": max(1, steps // KEPT_ROLLOUTS)},
    }
    if times:
        blocks["validation"] = {"every": max(1, steps // times), "problems": pace.validation}
    if request.guard is not None:
        blocks["guard"] = guard_keys(request)
    config = run_config(request, data.files, _stepped(base, timeline), setting, seconds, blocks)
    return {"setting": setting.name, "config": yaml_values(config)}


def yaml_values(config: RunConfig) -> dict[str, Any]:
    """Return a resolved configuration as plain values."""
    values: dict[str, Any] = yaml.safe_load(dump_config(config))
    return values


def _stepped(base: Base, timeline: Timeline) -> Frame:
    return replace(base.frame, problems_per_step=timeline.problems_per_step)


def _finished(config: RunConfig, path: Path, out: Console) -> Summary:
    """Return the summary of a run: of one that has ended, or trained now, from its checkpoint where it has one."""
    if (path / "summary.json").is_file():
        return Summary.from_json(RunDirectory.read(path).read_json("summary.json"), str(path / "summary.json"))
    summary = train_into(config, path, out, resume=True)
    gc.collect()
    if summary is None:
        raise SystemExit(STOPPED)
    return summary


def _steps(summary: Summary) -> int:
    steps: Any = summary.extra["steps"]
    return max(1, int(steps["done"]))
