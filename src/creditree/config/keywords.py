"""Keys of a configuration by short names: `steps` for ``train.steps``, where one block alone has that key."""

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from creditree.config.instances import named
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError, did_you_mean
from creditree.pieces import all_numbers
from creditree.user_code import location_of

YIELDING = ("reward", "guard", "warm_start")
"""Blocks whose keys give way to those of the run itself."""


def as_overrides(keywords: Mapping[str, Any]) -> tuple[str, ...]:
    """Return overrides such as ``train.steps=200`` for keywords such as ``steps=200``.

    A keyword is a whole block (``train={"steps": 200}``), whose keys are set one by one, a dotted key, or the name of a
    key that one block alone has; a piece of the method may be an instance (``select=TopEntropy(0.1)``). Raises
    ConfigError for a name that none has, or several.
    """
    settings: dict[str, Any] = {}
    for name, value in named(keywords).items():
        if name in RunConfig.model_fields and isinstance(value, Mapping):
            settings |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            settings[name if name in RunConfig.model_fields or "." in name else _dotted(name)] = value
    return tuple(f"{key}={written(key, value)}" for key, value in settings.items())


def written(key: str, value: Any) -> str:
    """Return a value as an override has it; a function by its file. Raises ConfigError for what has none."""
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    try:
        return json.dumps(value, ensure_ascii=False, default=_named)
    except (TypeError, ValueError):
        raise ConfigError(f"{key} is {value!r}: write a text, a number, true or false, a list or a mapping.") from None


def _named(value: Any) -> str:
    if not callable(value):
        raise TypeError
    return location_of(value)


def _dotted(name: str) -> str:
    places = sorted(block for block, names in _keys().items() if name in names)
    run = [place for place in places if place not in YIELDING]
    if len(run or places) == 1:
        return f"{(run or places)[0]}.{name}"
    if places:
        known = " or ".join(f"{{'{place}.{name}': ...}}" for place in places)
        raise ConfigError(f"'{name}' is a key of several blocks; say which, as **{known}.")
    known_names = {key for names in _keys().values() for key in names} | set(RunConfig.model_fields)
    raise ConfigError(f"'{name}' is no key of a configuration.{did_you_mean(name, known_names)}")


def _keys() -> dict[str, set[str]]:
    """Return the names of the keys that each block may have; a task's depend on which it is."""
    keys = {name: _names(field.annotation) for name, field in RunConfig.model_fields.items()}
    return keys | {"method": keys["method"] | all_numbers()}


def _names(annotation: Any) -> set[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name for name in annotation.model_fields if name != "name"}
    return {name for kind in get_args(annotation) for name in _names(kind)}
