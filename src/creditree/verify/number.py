"""Reading plain numbers exactly: integers, decimals, fractions, powers, percent, separators of thousands.

Every pattern can match a text in one way only, so that reading takes linear time.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MOST_DIGITS = 640
"""Longest number that is read: Python may be set to refuse any longer one."""
MOST_EXPONENT = 400
"""Largest power of ten that is written out."""

SEPARATOR = (
    r"(?:~|\\text\{,\}|(?:\\!\ ?)?,(?:\\[!,:;]\ ?)?"
    r"|\ ?\{\ ?,\ ?\}\ ?(?:\\!)?|\\[!,:;]\ ?|\\\ |[\ \u00a0\u2009\u202f'’])"
)
"""Between groups of three digits. A comma and a space part the elements of a list, so they are none."""
DIGITS = (
    rf"(?>(?!0)[0-9]{{1,3}}(?>(?:{SEPARATOR}[0-9]{{3}}(?![0-9]))+)"
    r"|[0-9]{1,2}(?>(?:,[0-9]{2}(?![0-9]))+),[0-9]{3}(?![0-9])"
    r"|[0-9]{1,3}(?>(?:\.[0-9]{3}){2,})(?![0-9.])"
    r"|[0-9]++)"
)
FRACTION_COMMAND = (
    r"\\[dtc]?frac\s*+(?:\{\s*+(?P<top>[-+]?[0-9.]++)\s*+\}|(?P<top1>[0-9]))"
    r"\s*+(?:\{\s*+(?P<bottom>[-+]?[0-9.]++)\s*+\}|(?P<bottom1>[0-9]))"
)
POWER_OF_TEN = (
    r"\s*+(?:\\times(?![A-Za-z])|\\cdot(?![A-Za-z])|×|·|\*|x)\s*+10\s?\^\s?\{?\s?(?P<power>-?[0-9]{1,4})\s?\}?"
)
RAISED = r"\s?(?:\^|\*\*)\s?(?:\{\s?(?P<raised>-?[0-9]{1,5})\s?\}|(?P<raised1>-?[0-9]{1,5}))"
NUMBER = re.compile(
    r"(?P<sign>[-+])?\s*+(?:\\?[$€£¥₹]\s*+(?P<sign2>[-+])?)?"
    r"(?>"
    rf"(?:(?P<mixed>[0-9]++)\s*+(?:\\[,!; ]\s*+)?)?{FRACTION_COMMAND}"
    r"|(?P<mixed2>[0-9]++)\s++(?P<top2>[0-9]++)\s?/\s?(?P<bottom2>[0-9]++)"
    rf"|(?P<base>[0-9]++){RAISED}"
    rf"|(?>(?P<whole>{DIGITS})?)(?:\.(?P<decimals>[0-9]++))?(?:(?<=[0-9])\.(?![0-9]))?"
    rf"(?:[eE](?P<exponent>[-+]?[0-9]{{1,4}})(?![0-9A-Za-z])|{POWER_OF_TEN})?"
    rf"(?:\s*+/\s*+(?P<over>-?{DIGITS}(?:\.[0-9]++)?))?"
    r")"
)
PERCENT = re.compile(r"\s*+(?>(?P<percent>\\?%)?)\s*+")
DECIMAL_COMMA = re.compile(r"(-?)\s?(0|[1-9][0-9]{0,2}(?>(?:\.[0-9]{3})*)|[1-9][0-9]*+)(?:,|\{,\})([0-9]++)")
REPEATING = re.compile(
    r"(?P<sign>-?)(?P<whole>[0-9]{1,40})\.(?P<fixed>[0-9]{0,40})\\overline\s?\{?(?P<again>[0-9]{1,40})\}?"
)
MARKS = re.compile(r"[^0-9.]")
_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
WORDS = dict(zip(_TO_NINETEEN.split(), range(20), strict=True))
WORDS |= dict(zip(_TENS.split(), range(20, 100, 10), strict=True))
NUMBER_WORDS = re.compile(
    rf"(?P<first>{'|'.join(sorted(WORDS, key=len, reverse=True))})"
    r"(?:[- ](?P<second>one|two|three|four|five|six|seven|eight|nine))?(?![A-Za-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PlainNumber:
    """A number as it was written: its exact value, and how.

    `is_percent`: written with a percent sign, by which the value is divided;  `is_decimal`: written with a decimal
    point and other digits than 0 behind it, so perhaps rounded.
    """

    value: Fraction
    is_percent: bool = False
    is_decimal: bool = False


def plain_number(text: str) -> PlainNumber | None:
    """Return the number that the whole of `text` is, or None.

    Read are ``1,234``, ``1 234 567``, ``12,34,567``, ``1.234.567``, ``-3.50``, ``2/7``, ``1\\frac12``, ``1 1/2``,
    ``2^{10}``, ``1.5e3``, ``6 \\times 10^{-5}`` and ``5%``. A comma parts thousands only: 3,5 is none (see
    `decimal_comma`).
    """
    text = text.strip().strip("$").strip() if text.startswith("$") and text.endswith("$") else text.strip()
    if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
        return PlainNumber(Fraction(int(text)))
    leading = leading_number(text.replace("−", "-"))
    return None if leading is None or leading[1] != len(text) else leading[0]


def leading_number(text: str) -> tuple[PlainNumber, int] | None:
    """Return the number that `text` starts with, its percent sign included, and where it ends; None without one."""
    if not text or len(text) > 4 * MOST_DIGITS:
        return None
    repeating = REPEATING.match(text) if "\\overline" in text else None
    if repeating is not None:
        return PlainNumber(_repeating(repeating)), repeating.end()
    match = NUMBER.match(text)
    if match is None or (match["sign"] and match["sign2"]):
        return None
    try:
        value, kind = _magnitude(match)
    except (ValueError, ZeroDivisionError):
        return None
    percent = PERCENT.match(text, match.end())
    is_percent = percent is not None and percent["percent"] is not None
    end = percent.end() if percent is not None and (is_percent or percent.end() == len(text)) else match.end()
    if is_percent:
        value /= 100
    negative = "-" in (match["sign"], match["sign2"])
    return (
        PlainNumber(
            -value if negative else value,
            is_percent=is_percent,
            is_decimal=kind == "decimal",
        ),
        end,
    )


def number_words(text: str) -> tuple[PlainNumber, int] | None:
    """Return the number below 100 that `text` starts with as English words, and where it ends; None without one."""
    match = NUMBER_WORDS.match(text)
    if match is None:
        return None
    first, second = WORDS[match["first"].lower()], WORDS[(match["second"] or "zero").lower()]
    if second and first < 20:
        return None
    return PlainNumber(Fraction(first + second)), match.end()


def decimal_comma(text: str) -> PlainNumber | None:
    """Return the number that ``3,5``, ``0,125`` or ``1.234,56`` is where its comma is a decimal one; None otherwise.

    Three digits behind the comma are thousands, unless a 0 or more than three digits stand before it.
    """
    match = DECIMAL_COMMA.fullmatch(text.strip()) if len(text) <= MOST_DIGITS else None
    if match is None:
        return None
    whole, decimals = match[2], match[3]
    if len(decimals) == 3 and whole != "0" and len(whole) <= 3:
        return None
    value = _decimal(whole.replace(".", ""), decimals)
    return PlainNumber(-value if match[1] else value, is_decimal=bool(decimals.strip("0")))


def _magnitude(match: re.Match[str]) -> tuple[Fraction, str]:
    top, bottom = match["top"] or match["top1"], match["bottom"] or match["bottom1"]
    if top is not None:
        return Fraction(match["mixed"] or 0) + _fraction(top) / _fraction(bottom), "fraction"
    if match["top2"] is not None:
        return Fraction(match["mixed2"]) + Fraction(int(match["top2"]), int(match["bottom2"])), "fraction"
    if match["base"] is not None:
        return _power(match["base"], int(match["raised"] or match["raised1"])), "whole"
    if match["whole"] is None and match["decimals"] is None:
        raise ValueError("no digits")
    decimals = match["decimals"] or ""
    value = _decimal(_joined(match["whole"] or ""), decimals)
    exponent = int(match["exponent"] or match["power"] or 0)
    if abs(exponent) > MOST_EXPONENT:
        raise ValueError("a power too large to write out")
    if exponent:
        value *= Fraction(10) ** exponent
    if match["over"] is not None:
        over = match["over"]
        return value / (-_fraction(_joined(over)) if over.startswith("-") else _fraction(_joined(over))), "fraction"
    if decimals.strip("0") or exponent < 0:
        return value, "decimal"
    return value, "whole" if decimals or exponent else "integer"


def _repeating(match: re.Match[str]) -> Fraction:
    fixed, again = match["fixed"], match["again"]
    value = Fraction(int(match["whole"] + fixed), 10 ** len(fixed))
    value += Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(fixed))
    return -value if match["sign"] else value


def _joined(digits: str) -> str:
    """Return a number without its separators of thousands, which are full stops where there are two or more."""
    digits = MARKS.sub("", digits)
    return digits.replace(".", "") if digits.count(".") > 1 else digits


def _power(base: str, exponent: int) -> Fraction:
    if len(base) * abs(exponent) > MOST_DIGITS:
        raise ValueError("a power too large to write out")
    return Fraction(int(base)) ** exponent


def _decimal(whole: str, decimals: str) -> Fraction:
    if max(len(whole), len(decimals)) > MOST_DIGITS:
        raise ValueError("a number too long to read")
    value = Fraction(int(whole or 0))
    return value + Fraction(int(decimals), 10 ** len(decimals)) if decimals else value


def _fraction(digits: str) -> Fraction:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number too long to read")
    return Fraction(digits)
