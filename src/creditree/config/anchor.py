"""Code that a configuration names by a relative path lies beside the file that names it."""

from pathlib import Path
from typing import Any

from creditree.methods import AXES
from creditree.user_code import beside


def anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths of code that a configuration's values name, in place, those of files in `folder`.

    What is not there is left as it is: it is looked for in the working directory.
    """
    guard, method = values.get("guard"), values.get("method")
    for block in (values, guard):
        if isinstance(block, dict):
            _anchor_reward(block, folder)
    _anchor_task(values, folder)
    for axis in AXES:
        _anchor(method, axis, folder)
    return values


def _anchor_reward(block: dict[str, Any], folder: Path) -> None:
    _anchor(block, "reward", folder)
    reward = block.get("reward")
    _anchor(reward, "name", folder)
    listed = reward.get("rewards") if isinstance(reward, dict) else reward
    several: list[Any] = listed if isinstance(listed, list) else []
    for place, single in enumerate(several):
        if isinstance(single, str):
            several[place] = beside(single, folder)
        _anchor(single, "name", folder)


def _anchor_task(values: dict[str, Any], folder: Path) -> None:
    _anchor(values, "task", folder)
    task = values.get("task")
    _anchor(task, "name", folder)
    listed = task.get("mixture") if isinstance(task, dict) else None
    mixture: list[Any] = listed if isinstance(listed, list) else []
    for place, part in enumerate(mixture):
        if isinstance(part, str):
            mixture[place] = beside(part, folder)
        _anchor(part, "name", folder)


def _anchor(block: object, key: str, folder: Path) -> None:
    if isinstance(block, dict) and isinstance(block.get(key), str):
        block[key] = beside(block[key], folder)
