"""What the equals signs and commas of an answer mean: chains of equal values, lists of named values, plain lists."""

import re

from creditree.verify.latex import is_bracketed, opening, split_elements, tidy

EQUALS = re.compile(r"(?<![<>!=:\\])=(?![=>])")
APPROXIMATES = re.compile(r"\\approx(?![A-Za-z])|≈")
OTHER_RELATION = re.compile(r"[<>≠≤≥]|\\(?:ne|neq|leq?|geq?|lt|gt|in|subset|cup|pm|to|mid|quad|text)(?![A-Za-z])")
NAME = re.compile(r"\s*(?P<name>\\?[A-Za-z]{1,12}(?:_\{?\w{1,6}\}?)?(?:\(\s?\\?[A-Za-z0-9]\s?\))?'{0,2})\s*=(?!=)\s*")
LETTER = re.compile(r"[A-Za-z]")
CONSTANTS = re.compile(
    r"\\?(?:sqrt|[dtc]?frac|cdot|times|pi|left|right|div|ln|log|sin|cos|tan|binom|text|[cl]?dots)(?![A-Za-z])"
)
COMMA_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+")
SEPARATORS = re.compile(r";|\\q?quad(?![A-Za-z])")
MOST_SIDES = 12


def chain(text: str) -> list[str]:
    """Return the sides of a chain of equal values, such as ``6 \\cdot 7 = 42``; all of `text` where it is none.

    An equation of two sides with an unknown in one, another relation and a list are no chain.
    """
    if "=" not in text or "," in text:
        return [text]
    sides, start = [], 0
    for match in EQUALS.finditer(text):
        if _depth(text[: match.start()]) == 0:
            sides.append(text[start : match.start()].strip())
            start = match.end()
    sides.append(text[start:].strip())
    if not 2 <= len(sides) <= MOST_SIDES or not all(sides) or any(map(OTHER_RELATION.search, sides)):
        return [text]
    if len(sides) == 2 and any(map(has_unknown, sides)):
        return [text]
    return sides


def values(text: str) -> list[str]:
    """Return what a chain of equal values comes to: its last side, and an approximation of it behind ``\\approx``."""
    exact, *rounded = APPROXIMATES.split(text)
    return [chain(exact)[-1], *rounded[-1:]] if exact.strip() else [text]


def _depth(text: str) -> int:
    return sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))


def has_unknown(text: str) -> bool:
    """Return whether a formula has a letter in it that is no constant and no function; commands count as letters."""
    return LETTER.search(CONSTANTS.sub(" ", text)) is not None


def by_name(text: str) -> dict[str, str] | None:
    """Return the values of ``x=2, y=3`` by their names; None for anything else, and where one name has two values."""
    elements = split_elements(SEPARATORS.sub(",", tidy(text)))
    matches = [NAME.match(element) for element in elements]
    if len(elements) < 2 or not all(matches):
        return None
    values = {
        re.sub(r"[{}\s]", "", match["name"]): element[match.end() :]
        for match, element in zip(matches, elements, strict=True)
        if match
    }
    return values if len(values) == len(elements) else None


def named_pairs(answer: str, truth: str) -> list[tuple[str, str]] | None:
    """Return which value of an answer is to equal which accepted one, where at least one of them names its values.

    With names on both sides the names decide; where only one has names, the order does, except for x_1 and x_2, or
    against a set. None where the two are no such lists, a pair that cannot be equal where they do not fit.
    """
    given, wanted = by_name(answer), by_name(truth)
    if given is not None and wanted is not None:
        if set(given) != set(wanted):
            return [("0", "1")]
        return [(given[name], wanted[name]) for name in wanted]
    named = given if given is not None else wanted
    if named is None or len({name.partition("_")[0] for name in named}) == 1:
        return None
    other = tidy(truth if given is not None else answer)
    elements = split_elements(other)
    if opening(other) == "\\{" and is_bracketed(other):
        return None
    if len(elements) != len(named) or any(EQUALS.search(element) for element in elements):
        return None
    values = list(named.values())
    return list(zip(values, elements, strict=True) if given is not None else zip(elements, values, strict=True))


def as_list(text: str, other: str) -> str:
    """Return ``100,200,300`` with its commas as those of a list where `other` is a list of as many elements."""
    if COMMA_GROUPS.fullmatch(text.strip()) is None or COMMA_GROUPS.fullmatch(other.strip()) is not None:
        return text
    return text.replace(",", ", ") if len(split_elements(tidy(other))) == text.count(",") + 1 else text
