"""A number with what belongs to it: a currency before it, any unit behind it, a name that it is assigned to."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from creditree.verify.latex import ENVIRONMENT
from creditree.verify.number import PlainNumber, decimal_comma, leading_number, number_words, plain_number
from creditree.verify.units import NO_UNIT, WRAPPED, Unit, differ, unit_of

LONGEST = 3_000
CURRENCY = re.compile(
    r"(?P<sign>-)?\s?(?P<name>(?:US|C|A|CA|AU|HK|NZ)?\\?\$|\\?[€£¥₹₩₽]|\\(?:pounds|euro|yen)|[A-Z]{3}|R\\?\$|R[spM]\.?|[Kk]r\.?|Fr\.?)[\s\\,~]{0,3}(?=-?[0-9.])"
)
MONEY = frozenset("$€£¥₹₩₽")
LEAD = re.compile(r"(?:\\approx|\\sim|≈|~|about|approximately|roughly|exactly|around)(?![A-Za-z])\s*+")
NAMED = re.compile(
    r"(?P<name>\\?[A-Za-z]{1,12}(?:_\{?\w{1,6}\}?)?(?:\(\\?[A-Za-z0-9]{1,6}\))?)\s*+(?:=|\\approx|≈)\s*+(?!=)"
)
EQUALS = re.compile(r"(?<![<>!=:\\])=(?![=>])|\\approx(?![A-Za-z])|≈")
UNEQUAL = re.compile(r"[<>≠≤≥]|!=|\\(?:ne|neq|le|leq|ge|geq|lt|gt|in|pm)(?![A-Za-z])|±")
RULES = {
    "units": "a unit that only one side has does not count; 500 cm is 5 m, and 5 cm is not 5 m",
    "percent": "5 % is 5 and 0.05",
    "decimal_comma": "54,50 is 54.50, and 1,234 is 1234",
}
"""How quantities are compared, in words: the rules that the graders of numbers share."""
PLACES = 6
"""A number with a decimal point equals what agrees with it to so many places ..."""
RELATIVE = Fraction(2, 10**6)
"""... and differs by no more than this share of it."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, its unit ("" without one) and the name that it is assigned to ("" without).

    `is_doubtful`: its comma may be a decimal one, and was read so, or part two elements of a list.
    """

    number: PlainNumber
    unit: str = ""
    name: str = ""
    is_doubtful: bool = False


@lru_cache(maxsize=4096)
def quantity(text: str) -> Quantity | None:
    """Return the number that all of `text` is, with its unit, or None: ``42 pens``, ``\\$5``, ``x = 3\\text{ cm}``.

    Words of scale count: 5 million is 5000000. See `unit_of` for what a unit is. A chain of plain numbers (``5 = 6``)
    is none.
    """
    if len(text) > LONGEST:
        return None
    number = plain_number(text) if text.lstrip("-\\")[:1] not in MONEY else None
    if number is not None:
        return Quantity(number)
    text = _undressed(text)
    if text.startswith(("\\text", "\\mathrm")):
        text = WRAPPED.sub(lambda match: f"{match[1]} ", text).strip()
    named = NAMED.match(text)
    name = ""
    if named is not None:
        name, text = named["name"], text[named.end() :].strip()
    lead = LEAD.match(text)
    if lead is not None:
        text = text[lead.end() :]
    read = _with_unit(text)
    return None if read is None else replace(read, name=name)


def last_side(text: str) -> Quantity | None:
    """Return the number on the last side of ``6 \\cdot 7 = 42``, None where another side is a number and not equal."""
    sides = [side.strip() for side in EQUALS.split(text)] if len(text) <= LONGEST else []
    last = quantity(sides[-1]) if len(sides) > 1 else None
    if last is None or UNEQUAL.search(text):
        return None
    others = [quantity(side) for side in sides[:-1]]
    return last if all(other is None or quantities_equal(other, last) for other in others) else None


def readings(one: Quantity, other: Quantity) -> list[tuple[Fraction, Fraction]]:
    """Return the pairs of values, one of which must be equal for two quantities to be the same; none for other things.

    Names that differ, and units that are known to measure different things, make two quantities different; 500 cm are
    5 m; a unit that only one has, or that is not known, does not count. A percent sign may be meant either way: 5 %
    equals 5 and 0.05, but not 500.
    """
    if one.name and other.name and one.name != other.name:
        return []
    units = differ(one.unit, other.unit) if one.unit and other.unit else False
    if units is True:
        return []
    first, second = one.number.value * (units or 1), other.number.value
    if one.number.is_percent == other.number.is_percent:
        return [(first, second)]
    return [
        (first, second),
        (first * (100 if one.number.is_percent else 1), second * (100 if other.number.is_percent else 1)),
    ]


def quantities_equal(one: Quantity, other: Quantity) -> bool:
    """Return whether two quantities are the same: exactly, or to 6 places where one has decimals, perhaps rounded."""
    rounded = one.number.is_decimal or other.number.is_decimal
    return any(first == second or (rounded and _close(first, second)) for first, second in readings(one, other))


def _close(first: Fraction, second: Fraction) -> bool:
    near = abs(first - second) <= RELATIVE * max(abs(first), abs(second))
    return near and round(first, PLACES) == round(second, PLACES)


def _with_unit(text: str) -> Quantity | None:
    currency = CURRENCY.match(text)
    before, negative = "", False
    if currency is not None:
        before, negative = currency["name"].strip("\\.").casefold(), currency["sign"] is not None
        text = text[currency.end() :]
    leading = leading_number(text) or number_words(text)
    if leading is None:
        number = decimal_comma(text)
        return Quantity(number, before, is_doubtful=True) if number is not None else None
    number, end = leading
    unit: Unit | None = NO_UNIT
    if end < len(text):
        unit = unit_of(text[end:])
        if unit is None:
            return _comma_with_unit(text, before)
    assert unit is not None
    value = number.value * unit.scale / (100 if unit.is_percent and not number.is_percent else 1)
    number = replace(
        number,
        value=-value if negative else value,
        is_percent=number.is_percent or unit.is_percent,
    )
    return Quantity(number, before or unit.name)


def _comma_with_unit(text: str, before: str) -> Quantity | None:
    """Return a number with a decimal comma and its unit."""
    start = re.match(r"-?[0-9.]++(?:,|\{,\})[0-9]++", text)
    number = decimal_comma(start[0]) if start is not None else None
    unit = unit_of(text[start.end() :]) if start is not None and number is not None else None
    return None if number is None or unit is None else Quantity(number, before or unit.name, is_doubtful=True)


def _undressed(text: str) -> str:
    """Return `text` without dollars around it, a wrapper such as ``\\text{}`` around all of it, and a full stop."""
    text = text.strip()
    if text.startswith("$") and text.endswith("$"):
        text = text.strip("$").strip()
    whole = re.fullmatch(r"\\(?:text(?:bf|rm|it|normal)?|mathrm|mathbf|mbox|bm)\s?\{([^{}]*)\}", text)
    if whole is not None:
        text = whole[1].strip()
    text = re.sub(r"\\(?:displaystyle|left|right|bigl|bigr)(?![A-Za-z])", "", text).strip()
    if text.startswith("(") and text.endswith(")") and "(" not in text[1:] and "," not in text:
        text = text[1:-1].strip()
    return ENVIRONMENT.sub("", text).strip().rstrip(".").rstrip()
