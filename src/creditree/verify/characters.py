"""One way of writing characters: digits, brackets, signs and raised figures of any script as ASCII has them."""

import re
import unicodedata

MARKS = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
RAISED = {"⁰": "0", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9",
          "⁺": "+", "⁻": "-", "⁼": "=", "⁽": "(", "⁾": ")", "ⁿ": "n"}  # fmt: skip
LOWERED = {chr(0x2080 + digit): str(digit) for digit in range(10)} | {"₊": "+", "₋": "-"}
RUNS = ((re.compile(f"[{''.join(RAISED)}]++"), "^", RAISED), (re.compile(f"[{''.join(LOWERED)}]++"), "_", LOWERED))
RAISED_FRACTION = re.compile("(?<![⁰¹²³⁴-⁹])([⁰¹²³⁴-⁹]++)[⁄/]([₀-₉]++)")
VULGAR = re.compile(r"(?P<before>[0-9])?(?P<sign>[¼½¾⅐-⅞])")
"""½ and its kind; behind a digit it makes a mixed number."""


PLAIN = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
PLAIN |= dict.fromkeys(map(ord, "\u2212\ufe63\u2010\u2011\u2012\u2013"), "-")
PLAIN |= {
    0x2044: "/",
    0x2215: "/",
    0x066B: ".",
    0x066C: ",",
    0x066A: "%",
    0x3000: " ",
    0x3001: ",",
    0xFFE5: "¥",
    0xFFE1: "£",
}
"""Full-width ASCII, minus signs and dashes, fraction slashes, Arabic separators, ideographic space and comma."""
LONGEST_GAP = 200
"""Characters of white space in a row; more say nothing, and patterns that look for its end take quadratic time."""
GAP = re.compile(rf"(?<!\s)(\s{{{LONGEST_GAP}}})\s++")
OTHER_DIGIT = re.compile(r"(?![0-9])\d")


def cleaned(text: str) -> str:
    """Return `text` in normal form NFC with ASCII digits, signs and brackets, without marks that nobody sees.

    Dropped: control characters, soft hyphens, marks of direction, lone surrogates, and what a gap has
    beyond 200 characters. ``１２`` and ``٤٢`` become 12 and 42, ``（B）`` (B), an en dash or a minus sign ``-``, ``x²``
    ``x^{2}``, ``5⁻³`` ``5^{-3}``, ``1½`` ``1\\frac{1}{2}``.
    """
    text = plain(text)
    if text.isascii():
        return text.strip()
    for run, command, figures in RUNS:
        text = run.sub(lambda match, c=command, f=figures: f"{c}{{{''.join(map(f.get, match[0]))}}}", text)  # type: ignore[misc]
    return VULGAR.sub(_vulgar, text).strip()


def plain(text: str) -> str:
    """Return the same with raised and lowered figures and fractions such as ½ left as they are."""
    text = GAP.sub(r"\1", MARKS.sub("", text))
    if text.isascii():
        return text
    text = RAISED_FRACTION.sub(_fraction, unicodedata.normalize("NFC", text)).translate(PLAIN)
    return OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)


def _fraction(match: re.Match[str]) -> str:
    return f"\\frac{{{''.join(map(RAISED.__getitem__, match[1]))}}}{{{''.join(map(LOWERED.__getitem__, match[2]))}}}"


def _vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match["sign"]).partition("\u2044")
    return f"{match['before'] or ''}\\frac{{{top}}}{{{bottom}}}"
