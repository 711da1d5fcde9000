"""Overrides from the command line: dotted keys with values in YAML."""

from collections.abc import Sequence
from typing import Any

import yaml

from creditree.errors import ConfigError


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys such as ``method.group=16`` in `values`, in place, and return them. Raises ConfigError."""
    for override in overrides:
        _apply(values, override)
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"--set {override}: write it as key=value, such as method.group=16.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML; quote it.") from None
    set_key(values, name.strip(), value, f"--set {override}")


def set_key(values: dict[str, Any], name: str, value: object, where: str) -> None:
    """Set the dotted key `name` in nested values, in place. Raises ConfigError, which begins with `where`."""
    *blocks, last = name.split(".")
    if not all([*blocks, last]):
        raise ConfigError(f"{where}: '{name}' has an empty part; write it as method.group=16.")
    place: Any = values
    for block in blocks:
        if place.get(block) is None:
            place[block] = {}
        elif isinstance(place[block], str):
            place[block] = {"name": place[block]}
        place = place[block]
        if not isinstance(place, dict):
            raise ConfigError(f"{where}: '{block}' holds a value, not further keys.")
    place[last] = value
