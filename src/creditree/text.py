"""Text of users, models and data on its way to a terminal or a report: what may be shown of it, and how much."""

import re
from reprlib import Repr

_HAZARDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters but for newline and tab, what turns the direction of writing, and halves of surrogate pairs."""
VALUE = 120
"""Characters that a message shows of a value."""
MESSAGE = 1200
"""Characters of a message, at most."""
_DIGITS = 1000
"""Digits of an integer that is written out, to be shortened like any text."""


def printable(text: str) -> str:
    r"""Return the text with everything that could steer a terminal or hide text as a visible escape, such as ``\x1b``.

    That is C0 but for newline and tab, C1, bidirectional controls and lone surrogates, which no stream can encode.
    """
    return _HAZARDS.sub(_escape, text)


def shortened(text: str, limit: int = VALUE) -> str:
    """Return at most `limit` characters of the text (3 at least): what is too long loses its middle."""
    if len(text) <= limit:
        return text
    kept = max(0, limit - 3)
    tail = kept // 4
    return f"{text[: kept - tail]}...{text[len(text) - tail :]}"


def one_line(text: str, limit: int = MESSAGE) -> str:
    """Return the text as one printable line of at most `limit` characters."""
    # cut before the search, as a text may hold megabytes, and after it, as escapes are longer than what they replace
    return shortened(printable(" ".join(shortened(text, 4 * limit).split())), limit)


def shown(value: object, limit: int = VALUE) -> str:
    """Return the `repr` of a value as a message shows it: short, of few levels and few items, whatever it holds."""
    return shortened(printable(_Short(limit).repr(value)), limit)


def json_escaped(text: str) -> str:
    r"""Return JSON text with the same values in which what `printable` replaces is written as ``\u001b``."""
    return _HAZARDS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class _Short(Repr):
    """`reprlib`'s, which writes an integer out in full first, and Python refuses that for thousands of digits."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 6
        self.maxstring = self.maxlong = self.maxother = limit

    def repr_int(self, x: int, level: int) -> str:
        """Return an integer, or of what size it is."""
        digits = int(x.bit_length() * 0.30103) + 1
        return super().repr_int(x, level) if digits <= _DIGITS else f"an integer of about {digits:,} digits"
