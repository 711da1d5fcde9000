"""Overrides from the command line: dotted keys with values in YAML."""

from collections.abc import Mapping, Sequence
from typing import Any

from creditree.errors import ConfigError
from creditree.notation import DEEPEST, NotationError, read_values
from creditree.text import shortened


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys such as ``method.group=16`` in `values`, in place, and return them. Raises ConfigError."""
    for override in overrides:
        _apply(values, override)
    return values


def named_keys(overrides: Sequence[str]) -> frozenset[str]:
    """Return the dotted keys that are set, as they are written."""
    return frozenset(override.partition("=")[0].strip() for override in overrides)


def check_free(overrides: Sequence[str], own: Mapping[str, str], who: str) -> None:
    """Raise ConfigError for an override of a key that a command sets itself: it would have no effect.

    `own`: such keys, and what to do instead;  `who`: the command, in words.
    """
    for override in overrides:
        (key,) = named_keys((override,))
        for one, instead in own.items():
            if key == one or key.startswith(f"{one}.") or one.startswith(f"{key}."):
                raise ConfigError(f"`overrides` {shortened(override)}: {who} sets {one} itself; {instead}.")


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"`overrides` {shortened(override)}: write it as key=value, such as method.group=16.")
    try:
        value = read_values(text)
    except NotationError as error:
        raise ConfigError(
            f"`overrides` {shortened(override)}: the value is not valid YAML{error}; quote it where a text is meant."
        ) from None
    set_key(values, name.strip(), value, f"`overrides` {shortened(override)}")


def set_key(values: dict[str, Any], name: str, value: object, where: str) -> None:
    """Set the dotted key `name` in nested values, in place. Raises ConfigError, which begins with `where`."""
    *blocks, last = name.split(".")
    if len(blocks) > DEEPEST:
        raise ConfigError(f"{where}: the key has {len(blocks) + 1:,} parts; write it as method.group=16.")
    if not all([*blocks, last]):
        raise ConfigError(f"{where}: '{shortened(name)}' has an empty part; write it as method.group=16.")
    place: Any = values
    for block in blocks:
        if place.get(block) is None:
            place[block] = {}
        elif isinstance(place[block], str):
            place[block] = {"name": place[block]}
        place = place[block]
        if not isinstance(place, dict):
            raise ConfigError(f"{where}: '{shortened(block)}' holds a value, not further keys.")
    place[last] = value
