"""What a completion votes for when several completions decide together by majority."""

import re
from typing import Protocol, runtime_checkable

from creditree.verify.final_answer import after_thinking, boxed
from creditree.verify.last_integer import NUMBER, LastInteger, last_integer
from creditree.verify.verifier import Verifier

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
    text = after_thinking(completion)
    inside = boxed(text)
    return _last_number(text) if inside is None else _normal(inside)


def _last_number(text: str) -> str | None:
    last = None
    for match in NUMBER.finditer(text):
        last = match
    return None if last is None else _normal(last[0].rstrip(","))


def _normal(answer: str) -> str | None:
    text = re.sub(r"[\s$]|\\[,;! ]|\\left|\\right|\\text", "", answer).replace("\\dfrac", "\\frac").rstrip(".")
    if NUMBER.fullmatch(text):
        text = text.replace(",", "").replace("\u2212", "-")
    return text if 0 < len(text) <= LONGEST else None
