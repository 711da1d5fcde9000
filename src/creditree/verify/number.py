"""Reading plain numbers exactly: integers, decimals, fractions, mixed numbers, percent, separators of thousands."""

import re
from dataclasses import dataclass
from fractions import Fraction

MOST_DIGITS = 640
"""Longest number that is read: Python may be set to refuse any longer one."""
MOST_EXPONENT = 400
"""Largest power of ten that is written out."""

DIGITS = r"(?:[0-9]{1,3}(?:(?:,|\{,\}|,?\\[!,: ]|\u202f|\u2009)+[0-9]{3})+|[0-9]+)"
FRACTION_COMMAND = (
    r"\\[dtc]?frac\s*(?:\{\s*(?P<top>[-−+]?[0-9.]+)\s*\}|(?P<top1>[0-9]))"
    r"\s*(?:\{\s*(?P<bottom>[-−+]?[0-9.]+)\s*\}|(?P<bottom1>[0-9]))"
)
NUMBER = re.compile(
    r"(?P<sign>[-−+])?\s*(?:\\?[$€£]\s*)?(?P<sign2>[-−+])?"
    r"(?:"
    rf"(?:(?P<mixed>[0-9]+)\s*)?{FRACTION_COMMAND}"
    r"|(?P<mixed2>[0-9]+)\s+(?P<top2>[0-9]+)\s*/\s*(?P<bottom2>[0-9]+)"
    rf"|(?P<whole>{DIGITS})?(?:\.(?P<decimals>[0-9]+))?\.?"
    r"(?:[eE](?P<exponent>[-+]?[0-9]{1,4})|\s*(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*\{?(?P<power>[-−]?[0-9]{1,4})\}?)?"
    rf"(?:\s*/\s*(?P<over>[-−]?{DIGITS}(?:\.[0-9]+)?))?"
    r")\s*(?P<percent>\\?%)?"
)
MARKS = re.compile(r"[^0-9.]")


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number as it was written: its exact value, and how.

    `is_percent`: written with a percent sign, by which the value is divided;  `is_decimal`: written with a decimal
    point and other digits than 0 behind it, so perhaps rounded;  `is_integer_literal`: digits only.
    """

    value: Fraction
    is_percent: bool = False
    is_decimal: bool = False
    is_integer_literal: bool = False


def plain_number(text: str) -> PlainNumber | None:
    """Return the number that the whole of `text` is, or None: ``1,234``, ``-3.50``, ``2/7``, ``1\\frac12``, ``5%``."""
    text = text.strip().strip("$").strip() if text.startswith("$") and text.endswith("$") else text.strip()
    if not text or len(text) > 2 * MOST_DIGITS:
        return None
    match = NUMBER.fullmatch(text)
    return None if match is None else _number(match)


def last_number(text: str) -> PlainNumber | None:
    """Return the last number that `text` contains, or None."""
    found = None
    for match in FOUND.finditer(text):
        number = plain_number(match[0])
        found = number if number is not None else found
    return found


# In running text a minus is a sign only where it cannot be an operator or a hyphen, and a full stop is punctuation.
FOUND = re.compile(
    r"(?:(?<![\w)\]}.])[-−])?(?:(?<=[\s(])|(?<!\w)|(?<=[-−]))\\?[$€£]?\s?"
    rf"(?:(?:[0-9]+\s*)?\\[dtc]?frac\s*(?:\{{[-−]?[0-9.]+\}}|[0-9])\s*(?:\{{[-−]?[0-9.]+\}}|[0-9])"
    rf"|{DIGITS}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{{1,4}})?(?:\s?/\s?{DIGITS})?|(?<![\w.])\.[0-9]+)"
    r"(?:\s?\\?%)?"
)


def _number(match: re.Match[str]) -> PlainNumber | None:
    if match["sign"] and match["sign2"]:
        return None
    negative = (match["sign"] or match["sign2"] or "") in ("-", "−") and bool(match["sign"] or match["sign2"])
    try:
        value, kind = _magnitude(match)
    except (ValueError, ZeroDivisionError):
        return None
    if match["percent"]:
        value /= 100
    return PlainNumber(
        -value if negative else value,
        is_percent=bool(match["percent"]),
        is_decimal=kind == "decimal",
        is_integer_literal=kind == "integer" and not match["percent"],
    )


def _magnitude(match: re.Match[str]) -> tuple[Fraction, str]:
    top, bottom = match["top"] or match["top1"], match["bottom"] or match["bottom1"]
    if top is not None:
        return Fraction(match["mixed"] or 0) + _fraction(top) / _fraction(bottom), "fraction"
    if match["top2"] is not None:
        return Fraction(match["mixed2"]) + Fraction(int(match["top2"]), int(match["bottom2"])), "fraction"
    whole = MARKS.sub("", match["whole"] or "")
    decimals = match["decimals"] or ""
    if not whole and not decimals:
        raise ValueError("no digits")
    value = _fraction(f"{whole or 0}.{decimals or 0}")
    exponent = int((match["exponent"] or match["power"] or "0").replace("−", "-"))
    if abs(exponent) > MOST_EXPONENT:
        raise ValueError("a power too large to write out")
    value *= Fraction(10) ** exponent
    if match["over"] is not None:
        over = match["over"].replace("−", "-")
        sign = -1 if over.startswith("-") else 1
        return value / (sign * _fraction(MARKS.sub("", over))), "fraction"
    if decimals.strip("0") or exponent < 0:
        return value, "decimal"
    return value, "whole" if decimals or exponent else "integer"


def _fraction(digits: str) -> Fraction:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number too long to read")
    return Fraction(digits.replace("−", "-"))
