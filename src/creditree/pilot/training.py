"""The third stage of a pilot: short trials choose method and learning rate, then the training itself."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from creditree.config.load import check_config, dump_config
from creditree.config.schema import RunConfig
from creditree.disk import is_file
from creditree.errors import ConfigError, RunError
from creditree.evaluate.summary import Summary
from creditree.pilot.base import Base
from creditree.pilot.cold import cold_settings
from creditree.pilot.data import Data, guard_keys
from creditree.pilot.request import Frame, Request, Setting, run_config, settings_to_try
from creditree.pilot.store import PilotDirectory
from creditree.pilot.timeline import LEAST_STEPS, RESERVE_SHARE, Pace, Timeline, divide, validations
from creditree.report.watcher import Watcher
from creditree.report.wording import duration, percent_interval, points_interval
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into

KEPT_ROLLOUTS = 40
"""About this many steps' completions are kept."""


@dataclass(frozen=True, eq=False, slots=True)
class Course:
    """A pilot that goes on to train: what was asked for and seen, and how the time that is left is divided."""

    request: Request
    data: Data
    base: Base
    timeline: Timeline
    directory: PilotDirectory

    @property
    def frame(self) -> Frame:
        """What all runs have in common."""
        return replace(self.base.frame, problems_per_step=self.timeline.problems_per_step)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What could be tried, the preferred one first."""
        return settings_of(self.data, self.base)

    @property
    def pace(self) -> Pace:
        """What a completion takes, and how many problems are measured."""
        return pace_of(self.data, self.base)

    def config(self, setting: Setting, seconds: float, blocks: Mapping[str, Mapping[str, Any]]) -> RunConfig:
        """Return the configuration of a run of a setting."""
        return run_config(self.request, self.data.files, self.frame, setting, seconds, blocks)


@dataclass(frozen=True, eq=False, slots=True)
class SettingTrial:
    """A setting that was tried, and its accuracy on the validation problems before and after."""

    setting: Setting
    learning_rate: float
    seconds: float
    steps: int
    summary: Summary

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON."""
        d = self.summary.main
        return {
            "method": f"{self.summary.method}{self.setting.begins}",
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
            "steps": self.steps,
            "before": d.before.value,
            "after": d.after.value,
            "difference": {
                "value": d.difference.value,
                "interval": d.difference.interval.to_json(),
            },
        }


@dataclass(frozen=True, slots=True)
class ChosenSetting:
    """What a pilot trains with: the setting's name, and the configuration."""

    setting: str
    config: dict[str, Any]


def pace_of(data: Data, base: Base) -> Pace:
    """Return what a completion takes, and how many problems are measured."""
    sizes, seen = data.splits.sizes, base.probe
    return Pace(seen.completion_s, seen.single_s, sizes["test"], sizes["validation"], data.num_guard, seen.load_s)


def settings_of(data: Data, base: Base) -> tuple[Setting, ...]:
    """Return what could be tried, the preferred one first: others where the base solves next to nothing."""
    if base.cold is None:
        return settings_to_try(data.shape.num_parameters)
    return cold_settings(base.cold, data.shape.num_parameters, data.splits.sizes["training"])


def planned(request: Request, data: Data, base: Base, directory: PilotDirectory) -> Course:
    """Return the course of the pilot. How its time is divided is decided once, and kept."""
    if not directory.has("timeline"):
        settings = settings_of(data, base)
        left = max(0.0, request.budget_s - directory.spent_s)
        directory.write("timeline", asdict(divide(left, pace_of(data, base), base.frame.group, len(settings))))
    course = Course(request, data, base, directory.read_as("timeline", Timeline), directory)
    least = LEAST_STEPS * course.pace.step_s(base.frame.group, course.timeline.problems_per_step)
    if course.timeline.training_s < least:
        raise ConfigError(
            f"`budget` {duration(request.budget_s)} is too short: after measuring, {duration(least)} of training would "
            f"not fit; begin again with a longer `budget` and another `out`."
        )
    return course


def try_settings(course: Course, watcher: Watcher) -> list[SettingTrial]:
    """Train with each setting for a short time, and measure it on the validation problems."""
    settings = course.settings[: course.timeline.trials]
    evaluation = {"split": "validation", "problems": course.pace.validation, "temperatures": [0.0]}
    blocks: dict[str, Mapping[str, Any]] = {"evaluation": evaluation, "log": {"rollouts_every": 0}}
    trials = []
    for number, setting in enumerate(settings):
        config = course.config(setting, course.timeline.trial_s, blocks)
        watcher.message(f"\ntrial {number + 1} of {len(settings)}: {setting.name}")
        summary = _finished(config, course.directory.trial(number), watcher)
        d = summary.main
        watcher.message(
            f"validation accuracy {percent_interval(d.after.value, d.after.interval)} %, "
            f"{points_interval(d.difference.value, d.difference.interval)} points"
        )
        trials.append(
            SettingTrial(setting, config.train.learning_rate, summary.seconds["train"], _steps(summary), summary)
        )
    return trials


def best_trial(trials: Sequence[SettingTrial], preferred: Setting) -> Setting:
    """Return the setting with the highest validation accuracy, the first of equals; `preferred` without any trial."""
    if not trials:
        return preferred
    return max(trials, key=lambda trial: trial.summary.main.after.value).setting


def train_chosen(course: Course, trials: Sequence[SettingTrial], watcher: Watcher) -> tuple[RunConfig, Summary]:
    """Train with the best setting for the time that is left, choosing by validation, and measure on the test."""
    directory = course.directory
    if not directory.has("choice"):
        directory.write("choice", _choice(course, trials))
    config = check_config(directory.read_as("choice", ChosenSetting).config, "the pilot's choice")
    expected = course.config(course.settings[0], 1.0, {})
    if (config.reward, config.guard.reward) != (expected.reward, None):
        raise RunError(
            f"the choice kept in {directory.path} is judged by another reward than this pilot; choose another `out`."
        )
    watcher.message(f"\ntraining for {duration(config.train.seconds or 0)}")
    return config, _finished(config, directory.run, watcher)


def _choice(course: Course, trials: Sequence[SettingTrial]) -> dict[str, Any]:
    pace, timeline, frame = course.pace, course.timeline, course.frame
    setting = best_trial(trials, course.settings[0])
    tried = next((trial for trial in trials if trial.setting == setting), None)
    step_s = tried.seconds / tried.steps if tried else pace.step_s(frame.group, frame.problems_per_step)
    seconds = _training_s(course, step_s)
    times = validations(seconds, pace)
    seconds -= times * pace.measuring_s(pace.validation)
    steps = max(1, int(seconds / step_s))
    blocks: dict[str, Mapping[str, Any]] = {
        "evaluation": {
            "problems": timeline.test,
            "temperatures": [0.0, frame.temperature][: timeline.decodings],
        },
        "log": {"rollouts_every": max(1, steps // KEPT_ROLLOUTS)},
    }
    if times:
        blocks["validation"] = {"every": max(1, steps // times), "problems": pace.validation}
    if course.request.guard is not None:
        blocks["guard"] = guard_keys(course.request)
    return {"setting": setting.name, "config": yaml_values(course.config(setting, seconds, blocks))}


def _training_s(course: Course, step_s: float) -> float:
    """Return the seconds that are left for training and its validations: enough for a few steps in any case."""
    usable = (1 - RESERVE_SHARE) * course.request.budget_s
    left = usable - course.directory.spent_s - course.timeline.evaluation_s
    return max(course.timeline.trial_s, LEAST_STEPS * step_s, left)


def yaml_values(config: RunConfig) -> dict[str, Any]:
    """Return a resolved configuration as plain values."""
    values: dict[str, Any] = yaml.safe_load(dump_config(config))
    return values


def _finished(config: RunConfig, path: Path, watcher: Watcher) -> Summary:
    """Return the summary of a run: of one that has ended, or trained now, from its checkpoint where it has one."""
    if is_file(path / "summary.json"):
        return Summary.from_json(RunDirectory.read(path).read_json("summary.json"), str(path / "summary.json"))
    summary = train_into(config, path, watcher, resume=True)
    gc.collect()
    return summary


def _steps(summary: Summary) -> int:
    steps = summary.details.steps
    return 1 if steps is None else max(1, steps.done)
