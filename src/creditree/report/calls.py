"""How a procedure is called again: each door spells it in its own way."""

from collections.abc import Callable, Mapping

Spelling = Callable[[str, Mapping[str, object]], str]
"""From a procedure's name and its arguments, the first ones without a name, to what one types."""
FIRST: Mapping[str, tuple[str, ...]] = {
    "train": ("config", "directory"),
    "evaluate": ("target",),
    "monitor": ("target", "fresh"),
    "pilot": ("problems",),
    "grade": ("path",),
}
"""Arguments that come first, and need no name."""


def in_python(procedure: str, arguments: Mapping[str, object]) -> str:
    """Return the call in Python: ``creditree.monitor('runs/a', 'fresh.csv', trust=True)``."""
    first = FIRST.get(procedure, ())
    given = [repr(arguments[name]) for name in first if name in arguments]
    named = [f"{name}={value!r}" for name, value in arguments.items() if name not in first]
    return f"creditree.{procedure}({', '.join([*given, *named])})"
