"""What is asked of a worker process, as JSON: reading it builds plain values, where a pickle could run code."""

import base64
import json
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

_BYTES, _TUPLE, _KEY = "bytes", "tuple", "."
"""Objects that stand for what JSON lacks; the keys of a mapping begin with a full stop, so none of them is taken."""


def packed(value: object) -> bytes:
    """Return None, truth values, numbers, texts, bytes, lists, tuples and mappings of them with texts as keys.

    Raises TypeError for anything else, and RecursionError where it is nested too deep.
    """
    return json.dumps(_plain(value)).encode("ascii")


def unpacked(data: bytes) -> Any:
    """Return what was packed."""
    return json.loads(data, object_hook=_restored)


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(item) for item in value]}
    if isinstance(value, Mapping):
        return {_KEY + _text(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} is no text, number, list or mapping")


def _text(key: object) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"a mapping has a {type(key).__name__} as key, not a text")


def _restored(members: dict[str, Any]) -> Any:
    if _BYTES in members:
        return base64.b64decode(members[_BYTES])
    if _TUPLE in members:
        return tuple(members[_TUPLE])
    return {key.removeprefix(_KEY): value for key, value in members.items()}
