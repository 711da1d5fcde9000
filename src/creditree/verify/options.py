"""The options of a multiple-choice problem, and whether a text is one of them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from creditree.problem import Problem
from creditree.verify.characters import cleaned

QUOTES = "<>\"'“”‘’«»「」"
COLUMNS = ("choices", "options")
DRESS = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mathbf|boxed)\s*|[*_`${}]")
GAP = re.compile(r"\\[,!;: ]|~|\\q?quad(?![A-Za-z])")
# A bare letter, or one that something closes: "B", "(B)", "[B]", "B.", "B)", "B:", "(B) 12 apples".
LETTER = re.compile(
    r"(?:(?:the )?(?:option|choice|letter|answer) ?)?[(\[]? ?([A-Z]) ?(?:[)\].:!]+(?: |$)|[-–—] |,?$)", re.IGNORECASE
)
ANOTHER = re.compile(
    r" ?(?:,|/|&|\+|;|,? ?\b(?:and|or)\b)? ?(?:(?:option|choice) )?[(\[]?[A-Z](?:[)\]]|[.:!]? ?$)", re.IGNORECASE
)


def options_of(problem: Problem) -> dict[str, str]:
    """Return the problem's options as texts by letter; empty where its row has none."""
    for column in COLUMNS:
        value = problem.columns.get(column)
        if isinstance(value, Mapping) and "text" in value and "label" in value:
            labels, texts = value["label"], value["text"]
            if isinstance(labels, Sequence) and isinstance(texts, Sequence):
                return {str(label).upper(): str(text) for label, text in zip(labels, texts, strict=False)}
        if isinstance(value, Mapping):
            return {str(label).upper(): str(text) for label, text in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return {chr(ord("A") + index): str(text) for index, text in enumerate(value)}
    return {}


def chosen(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the option that the whole of `text` is: its letter, its text, or both; else None.

    Two letters, as in "(A) or (B)", are no option.
    """
    text = " ".join(undressed(text).split()).strip(QUOTES)
    match = LETTER.match(text)
    if match and ANOTHER.match(text, match.end()):
        return None
    if match and (not options or match[1].upper() in options):
        return match[1].upper()
    plain = _plain(text)
    same = [letter for letter, option in options.items() if plain and _plain(option) == plain]
    return same[0] if len(same) == 1 else None


def undressed(text: str) -> str:
    """Return `text` in form NFKC, where （Ｂ） is (B), without what letters are set in: bold, LaTeX, code."""
    return DRESS.sub("", GAP.sub(" ", unicodedata.normalize("NFKC", cleaned(text))))


def _plain(text: str) -> str:
    return " ".join(undressed(text).split()).rstrip(".").casefold()
