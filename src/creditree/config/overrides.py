"""Overrides from the command line: dotted keys with values in YAML."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from creditree.errors import ConfigError
from creditree.notation import DEEPEST, NotationError, read_values
from creditree.text import shortened

LISTED = {"reward": "rewards"}
"""Blocks that may be written as a list, and the key that the list has where other keys stand beside it."""
LONGEST_NUMBER = 10


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
        for owned, instead in own.items():
            if key == owned or key.startswith(f"{owned}.") or owned.startswith(f"{key}."):
                raise ConfigError(f"`overrides` {shortened(override)}: {who} sets {owned} itself; {instead}.")


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
    for block, below in pairwise([*blocks, last]):
        key = _key(place, block, where)
        current = place[key] if isinstance(place, list) else place.get(key)
        if current is None or current is True or isinstance(current, str):  # true: a block with its defaults
            current = {} if not isinstance(current, str) or below == LISTED.get(block) else {"name": current}
        elif isinstance(current, list) and not below.isdecimal():
            current = {LISTED.get(block, block): current}
        place[key] = current
        place = current
        if not isinstance(place, dict | list):
            raise ConfigError(f"{where}: '{shortened(block)}' holds a value, not further keys.")
    place[_key(place, last, where)] = value


def _key(place: dict[str, Any] | list[Any], part: str, where: str) -> Any:
    """Return a part of a key as its block takes it: a name, or an item's number. Raises ConfigError for no item."""
    if isinstance(place, dict):
        return part
    if part.isdecimal() and len(part) < LONGEST_NUMBER and int(part) < len(place):
        return int(part)
    raise ConfigError(
        f"{where}: '{shortened(part)}' is no item of a list of {len(place)}; they are counted from 0 to "
        f"{len(place) - 1}."
    )
