"""The reward of Token-Efficient RL (arXiv 2504.20834): the last integer of the completion is right, or it is not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from creditree.problem import Verdict
from creditree.verify.characters import plain
from creditree.verify.final_answer import after_thinking, located, readings
from creditree.verify.verifier import Answer, Rules, Verifier

# A minus is a sign only where it cannot be an operator or a hyphen: not after a letter, a digit or a closing bracket.
NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]}])-)?(?<![\^_]\{)(?P<whole>[0-9]{1,3}(?>(?:,[0-9]{3})+)(?![0-9])|[0-9]++)"
    r"(?:\.(?P<fraction>[0-9]++))?"
    r"|(?<![\w.])\.[0-9]++"
)
MOST_DIGITS = 640
"""Longest number that is read: Python may be set to refuse any longer one."""


def last_integer(text: str) -> int | None:
    """Return the last integer in `text`, or None if it has none.

    The paper says "the last integer" and no more; these readings are ours:

    - a comma belongs to a number before groups of three digits only: ``1,234`` is 1234, ``3,5`` is 3 and then 5;
    - a full stop behind it is punctuation and a fraction of zeros is dropped: ``12.``, ``12.0`` and ``12.00`` are 12;
    - another decimal is one number and not an integer, so it is passed over: ``3.50`` is neither 3 nor 50;
    - a minus is a sign unless a letter, digit or closing bracket is right before it: ``-5`` is -5, ``10-5`` ends in 5;
    - raised and lowered figures are no integers of their own: ``5 m²`` and ``5 m^{2}`` are 5;
    - digits of other scripts are digits, and ``–`` and ``−`` are ``-``;
    - a last integer of more than 640 digits counts as none.
    """
    last = None
    for match in NUMBER.finditer(plain(text)):
        if _is_integer(match):
            last = match
    return None if last is None else _value(last)


def _is_integer(match: re.Match[str]) -> bool:
    return bool(match["whole"]) and not (match["fraction"] or "").strip("0")


def _value(match: re.Match[str]) -> int | None:
    digits = match["whole"].replace(",", "").lstrip("0") or "0"
    if len(digits) > MOST_DIGITS:
        return None
    return -int(digits) if match["sign"] else int(digits)


def _accepted(answer: str) -> int | None:
    """Return the integer that an accepted answer is, or states as ``#### 54`` does; ``x+1`` merely contains one."""
    matches = (NUMBER.fullmatch(plain(text).strip().removesuffix(".")) for text in readings(answer))
    return next((_value(match) for match in matches if match and _is_integer(match)), None)


@dataclass(frozen=True, slots=True)
class LastInteger(Verifier):
    """Reward 1 if the last integer of the completion equals an accepted answer, else 0.

    Where the completion marks its answer by a box or by ``<answer>``, it is the last integer in there; thoughts do not
    count, and a completion that was cut off in its thought has none. One without an integer is ``unparsable`` with
    reward 0. A problem none of whose accepted answers is an integer cannot be judged this way: ``crash``, without a
    reward.
    """

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(_verdict(answer) for answer in answers)

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "last_integer",
            "precision": "whole numbers only: 12.0 is 12, and 12.5 is passed over",
            "thousands": "1,234 is 1234",
            "decimal_comma": "not read: 3,5 is 3 and then 5",
            "units": "not read in a completion, refused in a reference",
            "percent": "not read in a completion, refused in a reference",
        }


def _verdict(answer: Answer) -> Verdict:
    accepted = {number for number in map(_accepted, answer.problem.answers) if number is not None}
    if not accepted:
        return Verdict(
            None,
            "crash",
            f"problem {answer.problem.id}: no accepted answer is an integer ({', '.join(answer.problem.answers)}); "
            "use a verifier that can judge it.",
        )
    place = located(answer.completion)
    marked = place is not None and place.how in ("box", "tag")
    integer = last_integer(place.text if place is not None and marked else after_thinking(answer.completion))
    if integer is None:
        return Verdict(0.0, "unparsable", "the completion has no integer.")
    return Verdict(1.0 if integer in accepted else 0.0, answer=str(integer))
