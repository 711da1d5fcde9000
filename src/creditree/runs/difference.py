"""Where two configurations differ, in words."""

from collections.abc import Mapping
from typing import Any

from creditree.runs.records import mapping_of
from creditree.text import shown

_ABSENT = object()


def describe_difference(before: str, now: str, limit: int = 3, place: str = "run", file: str = "config.yaml") -> str:
    """Return "key is a in the run and b now" for the first `limit` keys in which two YAML texts differ, "" if in none.

    The order of keys, comments and layout make no difference; `place` is what `before` belongs to, `file` where it is
    from. Raises RunError where a text is not a YAML mapping.
    """
    old, new = _flat(before, f"the {place}'s {file}"), _flat(now, "the configuration")
    differing = [key for key in {**old, **new} if not _same(old.get(key, _ABSENT), new.get(key, _ABSENT))]
    parts = [f"{key} is {_shown(old, key)} in the {place} and {_shown(new, key)} now" for key in differing[:limit]]
    if len(differing) > limit:
        parts.append(f"and {len(differing) - limit} more")
    return ", ".join(parts)


def _flat(text: str, name: str) -> dict[str, object]:
    return dict(leaves(mapping_of(text, name, "choose another run")))


def leaves(content: Mapping[Any, object], prefix: str = "") -> list[tuple[str, object]]:
    """Return the values of nested mappings by their dotted keys."""
    flat: list[tuple[str, object]] = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat.extend(leaves(value, f"{prefix}{key}."))
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _same(old: object, new: object) -> bool:
    if isinstance(old, float) and isinstance(new, float) and old != old and new != new:
        return True
    return type(old) is type(new) and old == new


def _shown(values: Mapping[str, object], key: str) -> str:
    return "not set" if key not in values else shown(values[key])
