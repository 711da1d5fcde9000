"""Finding the formulas of a text: what stands between dollars or the brackets of LaTeX."""

import re
from dataclasses import dataclass

DELIMITER = re.compile(r"\\.|\$\$|\$|\n\s*\n", re.DOTALL)
CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}
WORD = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]{3,}+|[\u0370-\u03ff]{3,}+|(?![\x00-\x7f\u0370-\u03ff\u00b5\u2126])[^\W\d_]++"
)
"""Three letters or more; of any script but Latin and Greek one is enough."""
COMMAND = re.compile(r"\\[A-Za-z]++(?:\{[A-Za-z ,.()]*+\})?")
FUNCTIONS = frozenset(
    {"sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "and", "max", "min", "mod", "gcd", "lcm", "det"}
)
"""Words that a formula may hold without being prose."""
LONGEST_INLINE = 600


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula and where it stands in its text, its delimiters included."""

    text: str
    start: int
    end: int


def formulas(text: str) -> list[Formula]:
    """Return the formulas of a text, in order, without empty ones; in one pass, whatever is left open.

    A dollar before a digit is money where nothing closes it, or where what lies between it and the next dollar is prose
    or is followed by a digit: "$2 each, so she earns $18" and "$60 - $15 = $45" have no formula.
    """
    closed: list[Formula] = []
    opened: tuple[str, int, int] | None = None  # the delimiter, where it starts, and where it ends
    for match in DELIMITER.finditer(text):
        mark = match[0]
        if opened is not None and mark == CLOSING[opened[0]] and _closes(text, opened, match):
            inside = text[opened[2] : match.start()].strip()
            if inside:
                closed.append(Formula(inside, opened[1], match.end()))
            opened = None
        elif mark in CLOSING and (opened is None or opened[0] == mark or opened[0] == "$"):
            opened = (mark, match.start(), match.end())
        elif mark[0] == "\n" and opened is not None and opened[0] in ("$", "\\("):
            opened = None  # an inline formula ends with its paragraph
    return closed


def _closes(text: str, opened: tuple[str, int, int], match: re.Match[str]) -> bool:
    """Return whether a closing mark may close what was opened: only a single dollar is in doubt."""
    if opened[0] != "$":
        return True
    if match.start() - opened[2] > LONGEST_INLINE:
        return False
    inside = text[opened[2] : match.start()]
    if inside[:1].isdigit():  # may be an amount
        if text[match.end() : match.end() + 1].isdigit():
            return False
        return not has_prose(inside, 0 if inside[-1:].isspace() else 2)
    return not has_prose(inside, 2)


def has_prose(text: str, most: int = 1) -> bool:
    """Return whether a text has more than `most` words that no formula has."""
    words = [word for word in WORD.findall(COMMAND.sub(" ", text)) if word.lower() not in FUNCTIONS]
    return len(words) > most
