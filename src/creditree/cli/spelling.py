"""How a procedure is called again on the command line."""

import shlex
from collections.abc import Mapping

from creditree.cli.words import in_options
from creditree.report.calls import FIRST

COMMANDS = {"evaluate": "eval"}
"""Commands that are called otherwise than their procedure."""
OPTIONS_FIRST = ("config", "target", "fresh", "problems", "path")
"""Arguments of commands; everything else is an option."""


def in_shell(procedure: str, arguments: Mapping[str, object]) -> str:
    """Return the command: ``creditree monitor runs/a fresh.csv --trust-run``."""
    first = [name for name in FIRST.get(procedure, ()) if name in OPTIONS_FIRST]
    words = ["creditree", COMMANDS.get(procedure, procedure)]
    words += [str(arguments[name]) for name in first if name in arguments]
    for name, value in arguments.items():
        if name not in first:
            words += _option(name, value)
    return shlex.join(words)


def _option(name: str, value: object) -> list[str]:
    option = in_options(f"`{name}`")
    if isinstance(value, list | tuple):
        return [word for item in value for word in (option, str(item))]
    return [option] if value is True else [option, str(value).replace("\n", "\\n")]
