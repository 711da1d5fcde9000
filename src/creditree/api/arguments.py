"""What the Python door takes: paths, configurations, and who is told."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from creditree.config.instances import check_made, named
from creditree.config.keywords import written
from creditree.config.schema import RunConfig
from creditree.config.task import MIXTURE
from creditree.report.plain import PlainConsole
from creditree.report.shown import Shown
from creditree.report.watcher import Watcher
from creditree.setup.request import TrainRequest

AnyPath = str | PathLike[str]
Configured = AnyPath | Mapping[str, Any] | RunConfig
"""A configuration: the path of a YAML file, its values, or one that was loaded."""


Tasked = AnyPath | Mapping[str, Any] | Callable[[], Iterable[Any]]
"""A task: its name, the path of a YAML file that has it, its block, or a function that yields problems."""


def loaded(request: TrainRequest, config: Configured | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the checked configuration; `config` and `overrides` may hold instances of pieces."""
    loaded = request.load()
    check_made(loaded, *([config] if isinstance(config, Mapping) else []), overrides)
    return loaded


def values_of(config: Configured) -> Path | Mapping[str, Any]:
    """Return the file, or the values that are set: what is not may still be chosen."""
    if isinstance(config, RunConfig):
        return config.model_dump(mode="json", exclude_unset=True)
    return named(config) if isinstance(config, Mapping) else Path(config)


def task_of(task: Tasked | None) -> tuple[str | dict[str, Any] | None, dict[str, Any]]:
    """Return what names a task, and the keys that are set of the task at hand where a block names none.

    A function that yields problems is named by its file. Raises ConfigError for what no configuration can hold.
    """
    if task is None or isinstance(task, str | PathLike):
        return text_of(task), {}
    value = json.loads(written("task", task))
    if isinstance(value, dict) and not {"name", MIXTURE} & value.keys():
        return None, {"task": value}
    return value, {}


def told(watcher: Watcher | None) -> Watcher:
    """Return who is told: `watcher`, or standard error."""
    return Shown(PlainConsole(sys.stderr)) if watcher is None else watcher


def path_of(path: AnyPath | None) -> Path | None:
    """Return the path, if any."""
    return None if path is None else Path(path)


def text_of(path: AnyPath | None) -> str | None:
    """Return the path as text, if any: what a configuration may name otherwise."""
    return None if path is None else str(path)
