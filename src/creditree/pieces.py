"""The registry of pieces: ours by their names, anybody's in a file, ``my_piece.py:Name``, or given as an instance."""

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
from creditree.user_code import HERE, digest_of, load, place_of

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


_GIVEN: dict[str, type[Piece]] = {}
"""The classes of instances that this process was given, by their names: they are not imported a second time."""


def name_of(piece: Piece) -> str:
    """Return the name of a piece's class: ours, ``path/to/file.py:Name``, ``package.module:Name`` or ``here:Name``.

    The last one is for a class that no file has at its top: of a notebook, an interpreter, or inside a function.
    """
    kind = type(piece)
    if any(known.get(kind.name) is kind for known in PIECES.values()):
        return kind.name
    place = place_of(kind) or HERE + kind.__name__
    _GIVEN[place] = kind
    return place


def version_of(location: str) -> str | None:
    """Return what tells a piece's code from what it was before: the digest of its file, and the class given."""
    given = _GIVEN.get(location)
    return digest_of(location) if given is None else f"{digest_of(location)} {id(given)}"


def check_named(axis: str, name: str) -> None:
    """Raise ConfigError for a piece that no file names: nobody can tell whether it is what it was."""
    if name.startswith(HERE):
        raise ConfigError(
            f"method.{axis} is an instance of {name.removeprefix(HERE)}, a class of a notebook, an interpreter or a "
            "function, which no other process can have and no run can go on with; put the class at the top of a file, "
            "and start a run with it, or with path/to/file.py:Name."
        )


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
    return _from_code(axis, name, version_of(name))


@lru_cache(maxsize=256)
def _from_code(axis: str, location: str, version: str | None) -> type[Piece]:
    """Return a piece of somebody's own; `version` is that of its code, so that a changed one is imported anew."""
    base = BASES[axis]
    kind: Any = _GIVEN.get(location)
    if kind is None:
        check_named(axis, location)
        kind = load(location, "piece", "Name")
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
