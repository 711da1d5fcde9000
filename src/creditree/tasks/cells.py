"""What a cell of a table means, the same in every format: missing, a text, or an accepted answer."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from math import isfinite, isnan

from creditree.errors import DataError
from creditree.text import printable, shown

MISSING = frozenset(
    {"nan", "NaN", "NAN", "-nan", "-NaN", "NaT", "None", "none", "NONE", "null", "NULL", "Null", "NA", "N/A", "n/a"}
    | {"<NA>", "#NA", "#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "1.#QNAN", "-1.#IND"}
)
"""What tables, and programs that write them, put where nothing is."""
_FORMULA = re.compile(r'="[^"]*"|=[A-Z][A-Z.]*\(.*\)', re.DOTALL)
_LIST_OF_TEXTS = re.compile(r'\s*\[\s*"')
LONGEST_CELL = 10_000_000
LONGEST_QUESTION = 400_000
"""Characters of a question: tokenizers take minutes, or end the process, for texts of megabytes."""
LONGEST_ANSWER = 100_000
DEEPEST = 50


def is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: empty, null, NaN, or a word that tables write for it (`MISSING`)."""
    if isinstance(value, str):
        return not value.strip() or value.strip() in MISSING
    return value is None or (isinstance(value, float | Decimal) and isnan(value))


def answers_in(value: object) -> tuple[str, ...]:
    """Return the accepted answers in a cell, as text: one, or those of a list.

    A word for a missing value is an answer only within a list, which says that it is meant. A text is a list where it
    is a JSON list of texts, as tables without lists (CSV) hold one; `[1, 2]` is an answer. Raises ValueError, in words
    for a sentence, where there is no answer, or something that is none: a truth value, a list in a list, an infinity.
    """
    value = _listed(value) if isinstance(value, str) else value
    listed = isinstance(value, list | tuple)
    values: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    if not values or (not listed and is_missing(value)):
        word = isinstance(value, str) and bool(value.strip())
        why = f", and writes it in a list where it is meant, such as {json.dumps([value])}" if word else ""
        raise ValueError(f"which stands for a missing value: a row has an answer{why}; fill it or drop the row")
    return tuple(_answer(value) for value in values)


def _listed(text: str) -> str | list[str]:
    """Return the texts of a JSON list that holds nothing else, or the text itself."""
    if _LIST_OF_TEXTS.match(text) is None:
        return text
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return items if all(isinstance(item, str) for item in items) else text


def _answer(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("and an answer is a text or a number, or a list of them; fill it or drop the row")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("which is no number that an answer can be; fill it or drop the row")
    text = str(value).strip()
    if not text:
        raise ValueError("and an answer is not empty; fill it or drop the row")
    if len(text) > LONGEST_ANSWER:
        raise ValueError(f"of {len(text):,} characters, and an answer has at most {LONGEST_ANSWER:,}")
    if text[0] == "=" and _FORMULA.fullmatch(text):
        raise ValueError("which is a formula of a spreadsheet; save the file with values in its place")
    return text


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def plain_value(value: object) -> object:
    """Return a cell with decimals and dates as text, as files of text have them, also those in lists and records."""
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if value is None or isinstance(value, str | int | float | bool | bytes) else str(value)


def check_values(values: Mapping[str, object], place: str) -> None:
    """Raise DataError for a cell that no program could write again: half a character, or nesting without end."""
    for name, value in values.items():
        for text, depth in _texts([name, value]):
            if depth > DEEPEST:
                raise DataError(f"{place} is nested more than {DEEPEST} levels deep in column {shown(name)}.")
            if len(text) > LONGEST_CELL:
                raise DataError(
                    f"{place} has {len(text):,} characters in column {shown(name)}, and a cell has at most "
                    f"{LONGEST_CELL:,}: shorten it."
                )
            if "\0" in text:
                raise DataError(f"{place} holds the character NUL in column {shown(name)}: a text has none.")
            half = None if text.isascii() else next((char for char in text if "\ud800" <= char <= "\udfff"), None)
            if half is not None:
                raise DataError(
                    f"{place} holds half a character ({printable(half)}) in column {shown(name)}: write the whole "
                    "one, as UTF-8."
                )


def _texts(value: object) -> Iterator[tuple[str, int]]:
    """Yield every text within a value, keys too, with its depth; one that is too deep stands for all below it."""
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        current, depth = stack.pop()
        if isinstance(current, str):
            yield current, depth
        elif depth > DEEPEST:
            yield "", depth
        elif isinstance(current, Mapping):
            stack += [(part, depth + 1) for pair in current.items() for part in pair]
        elif isinstance(current, list | tuple):
            stack += [(part, depth + 1) for part in current]
