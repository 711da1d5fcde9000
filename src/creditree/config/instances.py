"""Pieces that Python hands over as instances: a configuration has the names of their classes, and their numbers."""

from collections.abc import Mapping
from typing import Any

from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.methods import AXES
from creditree.piece import Piece, numbers_of
from creditree.pieces import name_of

_SHORT = {key: axis for axis in AXES for key in (axis, f"method.{axis}")}
"""Other keys than those of the block that a keyword may set an axis by."""


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's values, or keywords, with the names of pieces for pieces, and their numbers beside them.

    Raises ConfigError where a number would have two values.
    """
    given = _given(values)
    if not given:
        return dict(values)
    block = {key: value for key, value in _block(values).items() if key not in given}
    for axis, piece in given.items():
        block[axis] = name_of(piece)
        for item in numbers_of(piece):
            value = getattr(piece, item.name)
            if value is not None and block.setdefault(item.name, value) != value:
                raise ConfigError(
                    f"method.{item.name} is {value} in the instance of {type(piece).__name__} and {block[item.name]} "
                    "beside it; give both the same."
                )
    return {key: value for key, value in values.items() if _SHORT.get(key) not in given} | {"method": block}


def check_made(config: RunConfig, *values: Mapping[str, Any]) -> None:
    """Raise ConfigError where a configuration makes another piece of an instance in `values`, the last of which counts.

    None is no value in a configuration: a number that is None may be another in the method that is named.
    """
    wanted: dict[str, Any] = {}
    for each in values:
        wanted |= {axis: value for axis, value in _axes(each).items() if value is not None}
    method = config.method.build()
    for axis, piece in wanted.items():
        made = getattr(method, axis)
        if isinstance(piece, Piece) and made != piece:
            raise ConfigError(
                f"method.{axis} was given as {piece}, and a configuration makes {made} of it: None is no value there; "
                "give each number a value."
            )


def _given(values: Mapping[str, Any]) -> dict[str, Piece]:
    return {axis: value for axis, value in _axes(values).items() if isinstance(value, Piece)}


def _axes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what values say of each axis, under whichever key."""
    block = _block(values)
    return {axis: block[axis] for axis in AXES if axis in block} | {
        axis: values[key] for key, axis in _SHORT.items() if key in values
    }


def _block(values: Mapping[str, Any]) -> Mapping[str, Any]:
    block = values.get("method")
    return {"name": block} if isinstance(block, str) else block if isinstance(block, Mapping) else {}
