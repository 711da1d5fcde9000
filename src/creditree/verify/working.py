"""Brackets behind a number that only show how it came about, as in "12 (5 + 7)".

Such a bracket could also be a factor, so it is taken for working only where it says what the number says: its value is
the number's. Every pattern is bounded, so that the time is linear.
"""

import re
from fractions import Fraction

from creditree.verify.formulas import FUNCTIONS, formulas
from creditree.verify.number import PlainNumber, plain_number

_TIMES = "|".join(["x|plus|minus|times|by|over|divided|multiplied", *sorted(FUNCTIONS - {"and"})])
_JOINS = rf"{_TIMES}|and|or|of|per|to|less|than|is|are|equals?"
_WORD = rf"\s(?!(?:{_JOINS})\b)[^\W\d_]{{2,20}}"
_BRACKET = re.compile(
    r"(?<![\w.,])(?P<number>-?[$€£¥₹]?[0-9][0-9,]{0,20}(?:\.[0-9]{1,20})?(?:/[0-9]{1,20})?(?:\s?\\?%)?)"
    rf"(?P<unit>(?:{_WORD}){{0,2}})\s\((?P<inside>[^()]{{1,200}})\)"
    rf"(?=[.,;:!?*_\"”’。]{{0,4}}(?:\s*\Z|\n|\s(?!(?:{_TIMES})\b)[^\W\d_]{{2,20}}|(?<=[.,;:!?。])\s))"
)
_PART = re.compile(rf"(?:[-+*/×·÷^_\\{{(−–0-9]|(?<![^\W\d_])(?:{_TIMES}))\Z")
"""Before a number that belongs to a longer formula."""
_TERM = re.compile(
    rf"\s*(?P<number>[-−]?\s?\$?[0-9][0-9,]{{0,20}}(?:\.[0-9]{{1,20}})?)(?:\s?\^\s?\{{?(?P<raised>[2-9])\}}?)?"
    rf"\$?(?P<words>(?:{_WORD}){{0,3}})\s*"
)
_OPERATOR = re.compile(r"(?:[-+*/x×·÷−–]|\\(?:times|cdot|div)|(?:plus|minus|times|and)\b)")
_SIGNS = dict.fromkeys(("+", "plus", "and"), "+") | dict.fromkeys(("-", "−", "–", "minus"), "-")
_SIGNS |= dict.fromkeys(("/", "÷", "\\div"), "/")
MOST_TERMS = 30
LONGEST_BEFORE = 20


def without_working(text: str) -> str:
    """Return a text without the brackets behind a number, or a number and its unit, that only show its working.

    Such a bracket is arithmetic with the value of the number, in which numbers may have words ("8 red + 4 green"), or
    starts with an equals sign and contradicts nothing. It stands behind white space, in no formula, and is followed by
    no factor.
    """
    if " (" not in text:
        return text
    inner = formulas(text)
    kept, place = [], 0
    for match in _BRACKET.finditer(text):
        start = match.end("unit")
        free = not any(formula.start < match.start("inside") < formula.end for formula in inner)
        before = text[max(0, match.start() - LONGEST_BEFORE) : match.start()].rstrip()
        if free and not _PART.search(before) and _is_working(match["number"], match["inside"]):
            kept.append(text[place:start])
            place = match.end()
    return "".join([*kept, text[place:]])


def _is_working(number: str, inside: str) -> bool:
    """Return whether a bracket says of the number before it how it comes about."""
    said = plain_number(number.replace("\\%", "%"))
    if said is None:
        return False
    places = len(number.partition(".")[2])
    parts = re.split(r"[=≈]", inside.strip())
    leads = len(parts) > 1 and not parts[0].strip()
    values = [_value(part) for part in parts[leads:]]
    if leads and any(value is None or value[2] for value in values):
        return True
    computed = leads or any(value is not None and value[1] for value in values)
    return computed and all(value is not None and _agree(said, places, value[0]) for value in values)


def _agree(said: PlainNumber, places: int, value: Fraction) -> bool:
    """Return whether a number, written with so many decimals, is a value, or what it is rounded to."""
    if said.is_percent:
        return value in (said.value, said.value * 100)
    return value == said.value or (said.is_decimal and round(value, places) == said.value)


def _value(text: str) -> tuple[Fraction, bool, bool] | None:
    """Return the value of a sum of products, whether it has operators, and whether its numbers have words; or None."""
    total, product, sign, operator, place, words = Fraction(0), Fraction(1), 1, "*", 0, False
    for count in range(MOST_TERMS):
        term = _TERM.match(text, place)
        number = None if term is None else _number(term)
        if term is None or number is None or (operator == "/" and number == 0):
            return None
        words = words or bool(term["words"])
        product = product / number if operator == "/" else product * number
        if term.end() == len(text):
            return total + sign * product, count > 0, words
        joined = _OPERATOR.match(text, term.end())
        if joined is None:
            return None
        operator, place = _SIGNS.get(joined[0], "*"), joined.end()
        if operator in "+-":
            total, product, sign = total + sign * product, Fraction(1), 1 if operator == "+" else -1
    return None


def _number(term: re.Match[str]) -> Fraction | None:
    number = plain_number(re.sub(r"[\s$]", "", term["number"]).replace("−", "-"))
    power = int(term["raised"] or 1)
    if number is None or (number.value < 0 and power > 1):
        return None
    return number.value**power
