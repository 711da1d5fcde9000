"""What a completion votes for when several completions decide together by majority."""

import re
from typing import Protocol, runtime_checkable

from creditree.verify.last_integer import NUMBER, LastInteger, last_integer
from creditree.verify.verifier import Verifier

BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
THINK_END = "</think>"
LONGEST = 200
"""A longer answer is no vote: nobody else will give it."""


@runtime_checkable
class Voter(Protocol):
    """A verifier that says itself which answer it read. Equal texts are one answer, to its own understanding."""

    def answer_of(self, completion: str) -> str | None:
        """Return the answer that the completion gives, None where it gives none; never raises."""


def vote_of(verifier: Verifier, completion: str) -> str | None:
    """Return the answer that a completion votes for, None for an abstention.

    - A verifier with a method `answer_of` decides itself.
    - `LastInteger`: its last integer.
    - Any other: what stands in the last ``\\boxed{}`` behind the last ``</think>``, else the last number there, without
      spaces, dollar signs and thousands separators. The vote does not look at the accepted answers: two ways of
      writing one number are two answers here.
    """
    if isinstance(verifier, Voter):
        return verifier.answer_of(completion)
    if isinstance(verifier, LastInteger):
        found = last_integer(completion)
        return None if found is None else str(found)
    text = completion.rpartition(THINK_END)[2]
    inside = last_box(text)
    return _normal(inside) if inside is not None else _last_number(text)


def last_box(text: str) -> str | None:
    """Return what stands in the last closed ``\\boxed{...}`` or ``\\fbox{...}``, or None; braces inside are matched."""
    for match in reversed(list(BOX.finditer(text))):
        depth = 1
        for place in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[match.end() : place]
    return None


def _last_number(text: str) -> str | None:
    last = None
    for last in NUMBER.finditer(text):  # noqa: B007
        pass
    return None if last is None else _normal(last[0].rstrip(","))


def _normal(answer: str) -> str | None:
    text = re.sub(r"[\s$]|\\[,;! ]|\\left|\\right|\\text", "", answer).replace("\\dfrac", "\\frac").rstrip(".")
    if NUMBER.fullmatch(text):
        text = text.replace(",", "").replace("\u2212", "-")
    return text if 0 < len(text) <= LONGEST else None
