"""The registry of pieces: ours by their names, and anybody's in a file, ``my_piece.py:Name``."""

from collections.abc import Iterator
from functools import lru_cache
from inspect import isabstract
from typing import Any, cast

from creditree.credit.base import Credit
from creditree.errors import ConfigError, did_you_mean
from creditree.explore.base import Explorer
from creditree.methods import AXES
from creditree.objective.base import Objective
from creditree.piece import Piece, default_of, numbers_of, ours
from creditree.schedule.base import Schedule
from creditree.select.base import Selection
from creditree.user_code import digest_of, load

BASES: dict[str, type[Piece]] = {
    "explore": Explorer,
    "credit": Credit,
    "select": Selection,
    "objective": Objective,
    "schedule": Schedule,
}
assert tuple(BASES) == AXES


PIECES: dict[str, dict[str, type[Piece]]] = {axis: ours(axis, BASES[axis]) for axis in AXES}
"""What each axis can be, by the names used in configurations; besides these, anybody's file."""

MODULES = {kind.__module__ for known in PIECES.values() for kind in known.values()}
"""Where our pieces lie."""


def is_location(name: str) -> bool:
    """Return whether a piece's name says where its code lies."""
    return ":" in name


def piece_class(axis: str, name: str) -> type[Piece]:
    """Return the class of a piece. Raises ConfigError for an unknown name, or code that is no answer."""
    known = PIECES[axis]
    if name in known:
        return known[name]
    if not is_location(name):
        raise ConfigError(
            f"method.{axis} is '{name}', which is no answer to it.{did_you_mean(name, known)} Your own is named as "
            "path/to/file.py:Name."
        )
    return _from_code(axis, name, digest_of(name))


@lru_cache(maxsize=256)
def _from_code(axis: str, location: str, digest: str | None) -> type[Piece]:
    """Return a piece of somebody's own; `digest` is that of its file, so that a changed one is imported anew."""
    base = BASES[axis]
    kind: Any = load(location, "piece", "Name")
    is_piece: bool = isinstance(kind, type) and issubclass(kind, base)
    if not is_piece:
        raise ConfigError(f"method.{axis} is '{location}', which is no subclass of {base.__module__}.{base.__name__}.")
    if isabstract(kind):
        missing = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
        raise ConfigError(f"method.{axis} is '{location}', which lacks {missing}; define it.")
    if "__dataclass_params__" not in vars(kind) or not kind.__dataclass_params__.frozen:
        raise ConfigError(f"method.{axis} is '{location}', which is not frozen; put @dataclass(frozen=True) above it.")
    for item in numbers_of(kind):
        default_of(item)
    return cast("type[Piece]", kind)


def short_name(name: str) -> str:
    """Return a piece's name without the folder of its file."""
    return name.replace("\\", "/").rpartition("/")[2] if is_location(name) else name


def owners(number: str) -> Iterator[tuple[str, str]]:
    """Yield axis and name of our pieces that have a number of this name, first those that declare it."""
    for again in (False, True):
        for axis, known in PIECES.items():
            for name, kind in known.items():
                if number in {item.name for item in numbers_of(kind) if item.metadata.get("again", False) is again}:
                    yield axis, name


def all_numbers() -> frozenset[str]:
    """Return the names of all numbers of our pieces."""
    return frozenset(item.name for known in PIECES.values() for kind in known.values() for item in numbers_of(kind))
