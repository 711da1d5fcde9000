"""The one reader of the records that a run's directories hold: JSON and YAML, with their shape checked."""

import json
from collections.abc import Hashable
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from creditree.disk import content
from creditree.errors import RunError
from creditree.notation import NotationError, read_values
from creditree.text import shortened, shown

T = TypeVar("T")

_LONGEST = 60
"""Letters of a value that a sentence shows."""


def read_bytes(path: Path, cure: str) -> bytes:
    """Return the content of a file. Raises RunError, which ends with the cure, where it cannot be read."""
    try:
        return content(path)
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {reason(error)}; {cure}.") from error


def text_of(data: bytes, source: Path | str, cure: str) -> str:
    """Return UTF-8 text. Raises RunError that names the source where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RunError(f"Cannot read {source}: it is not UTF-8 text; {cure}.") from error


def json_of(data: bytes, source: Path | str, cure: str) -> object:
    """Return the value of a JSON text, whose numbers are finite. Raises RunError where it is none."""
    text = text_of(data, source, cure)
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise RunError(f"{source} is not JSON that can be read (it is nested too deep); {cure}.") from error
    except ValueError as error:
        raise RunError(f"{source} is not JSON ({reason(error)}); {cure}.") from error


def object_of(data: bytes, source: Path | str, cure: str) -> dict[str, Any]:
    """Return the JSON object of a text. Raises RunError where it is none."""
    value = json_of(data, source, cure)
    if not isinstance(value, dict):
        raise RunError(f"{source} is not a JSON object; {cure}.")
    return value


def record_of(kind: type[T], value: object, source: Path | str, cure: str) -> T:
    """Return a value as `kind`: a frozen dataclass, a pydantic model, or a type such as ``dict[str, int]``.

    Raises RunError, which says where and what is wrong, for a value of another shape.
    """
    adapter: TypeAdapter[T] = _adapter(cast("Hashable", kind))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        given = shown(first.get("input"), _LONGEST) if first["type"] != "missing" else "missing"
        raise RunError(f"{source} is not what was written there ({place} is {given}); {cure}.") from error


def mapping_of(text: str, source: str, cure: str) -> dict[Any, Any]:
    """Return the mapping of a YAML text; an empty one has no keys. Raises RunError where it is none."""
    try:
        value = read_values(text)
    except NotationError as error:
        raise RunError(f"Cannot read {source}: it is not YAML{error}; {cure}.") from error
    if value is not None and not isinstance(value, dict):
        raise RunError(f"Cannot read {source}: it is not a mapping of keys to values; {cure}.")
    return value or {}


def reason(error: BaseException) -> str:
    """Return the cause of an error in one line."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON's")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{shortened(text, _LONGEST)} is more than a number can be")
    return value
