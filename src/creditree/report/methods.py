"""The page of methods and pieces, docs/methods.md: made from the classes, which say everything themselves.

``python -m creditree.report.methods > docs/methods.md`` writes it anew.
"""

import sys
from collections.abc import Mapping
from dataclasses import Field
from inspect import cleandoc
from textwrap import fill
from typing import Any, Literal, get_args, get_origin

from creditree.methods import AXES, METHODS
from creditree.piece import Piece, default_of, numbers_of, types_of
from creditree.pieces import PIECES
from creditree.rewards import READY

QUESTIONS = {
    "explore": "How does the tree grow?",
    "credit": "What was each token worth?",
    "select": "Which tokens learn, and how much?",
    "objective": "What is maximised?",
    "schedule": "Which problems are drawn and kept, and how long may a completion be?",
}
KINDS: dict[str, Mapping[str, type[Piece]]] = {**PIECES, "reward": READY}
"""All pieces by what they answer: those of a method, and the ready rewards."""
_HEAD = """# Methods and pieces

A method answers four questions, each with one piece, and a schedule stands around them. Every piece can be exchanged
(`--set method.select=everything`), and every number set (`--set method.group=16`). A method with exchanged pieces says
so in every table: `t-spmo + select=everything`.

A piece of your own is a class in a file of yours, on the base class of its question (`creditree.explore.base.Explorer`,
`credit.base.Credit`, `select.base.Selection`, `objective.base.Objective`, `schedule.base.Schedule`), and is named by
its place: `method.select: my_select.py:LastTokens`, relative to the file that names it. Its numbers are declared with
`creditree.piece.number`; their help, range checks and defaults hold everywhere, as ours do. What it may cost it says in
`demand` and `max_completions`; where it does not, it is planned by its upper bound.

This page is made from the classes: `python -m creditree.report.methods > docs/methods.md`.
"""

_REWARDS = """## reward: What is a completion given for besides being right?

Not a question of the method, but of `reward:`, where several rewards stand as a list: the task's grader or your own
function first, then these or functions of yours (docs/verification.md).
"""


def page() -> str:
    """Return the page in Markdown."""
    parts = [_HEAD, "## Methods\n", _methods()]
    for axis in AXES:
        parts.append(f"## {axis}: {QUESTIONS[axis]}\n")
        parts += [_piece(kind) for kind in PIECES[axis].values()]
    parts.append(_REWARDS)
    parts += [_piece(kind) for kind in READY.values()]
    return "\n".join(parts).rstrip() + "\n"


def piece_record(kind: type[Piece]) -> dict[str, Any]:
    """Return what a piece says of itself: its paper, one line, and its numbers with default, range and help."""
    return {
        "name": kind.name,
        "paper": kind.paper,
        "summary": summary_of(kind),
        "numbers": {item.name: _number(kind, item) for item in numbers_of(kind)},
    }


def summary_of(kind: type[Piece]) -> str:
    """Return the first paragraph of a piece's docstring, in one line."""
    return " ".join(cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _number(kind: type[Piece], item: Field[Any]) -> dict[str, Any]:
    hint = types_of(kind)[item.name]
    choices = [*get_args(hint)] if get_origin(hint) is Literal else []
    bounds = str(item.metadata.get("range") or "")
    return {"default": default_of(item), "range": ", ".join(choices) or bounds, "help": item.metadata.get("help", "")}


def _methods() -> str:
    rows = ["| method | " + " | ".join(AXES) + " | paper |", "|---" * (len(AXES) + 2) + "|"]
    for name, make in METHODS.items():
        method = make()
        rows.append(f"| `{name}` | " + " | ".join(piece.name for piece in method.pieces) + f" | {method.paper} |")
    return "\n".join(rows) + "\n"


def _piece(kind: type[Piece]) -> str:
    paper = f" ({kind.paper})" if kind.paper else ""
    lines = [f"### {kind.name}{paper}\n", fill(summary_of(kind), 120, break_long_words=False), ""]
    for name, said in piece_record(kind)["numbers"].items():
        rule = f"; {said['range']}" if said["range"] else ""
        lines.append(fill(f"- `{name}` ({_shown(said['default'])}{rule}): {said['help']}", 120, subsequent_indent="  "))
    return "\n".join(lines).rstrip() + "\n"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == () else f"{value}"


if __name__ == "__main__":
    sys.stdout.write(page())
