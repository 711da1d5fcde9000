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
        _anchor_all(block, "reward", "rewards", folder)
    _anchor_all(values, "task", "mixture", folder)
    for axis in AXES:
        _anchor(method, axis, folder)
    return values


def _anchor_all(block: object, key: str, parts: str, folder: Path) -> None:
    """Anchor what stands at `key`: one thing by its name, or several, in a list there or in its key `parts`."""
    if not isinstance(block, dict):
        return
    _anchor(block, key, folder)
    value = block.get(key)
    _anchor(value, "name", folder)
    listed = value.get(parts) if isinstance(value, dict) else value
    several: list[Any] = listed if isinstance(listed, list) else []
    for place, part in enumerate(several):
        if isinstance(part, str):
            several[place] = beside(part, folder)
        _anchor(part, "name", folder)


def _anchor(block: object, key: str, folder: Path) -> None:
    if isinstance(block, dict) and isinstance(block.get(key), str):
        block[key] = beside(block[key], folder)
