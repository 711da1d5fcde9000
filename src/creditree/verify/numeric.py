"""Numbers: integers, decimals, fractions, percent; compared exactly, or within a tolerance."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from creditree.limits import check_tolerance
from creditree.problem import Verdict
from creditree.verify.number import MOST_DIGITS, PlainNumber
from creditree.verify.prose import accepted_answer, final_answer
from creditree.verify.quantity import RULES, Quantity, last_side, quantity, readings
from creditree.verify.verifier import Answer, Rules, Verifier

LONG_DIGITS = re.compile(rf"[0-9]{{{MOST_DIGITS + 1},}}+")
"""Too long to be read; the same digits are the same number."""
NOISY = 16
"""Digits from which a decimal may be the float nearest to a shorter one."""
LONGEST_NOISE = 25
NOISE = 3
"""Digits by which that shorter one must be shorter."""
LARGEST_SINGLE = 3e38


@dataclass(frozen=True, slots=True)
class Numeric(Verifier):
    """Reward 1 if the number that the completion answers with equals an accepted one, else 0.

    The number is read out of the one place where the completion says its answer (see `located`): a box, a tag, a stated
    clause, else the last sentence with a number; more than one number there, or a number inside something else, such as
    5 or 6, 5x and ``\\sqrt{5}``, is none. A unit behind it does not count, unless both have one and they differ.
    `tolerance`: largest relative difference, and largest absolute one where the accepted number is 0; at 0 numbers are
    compared exactly, so 0.333 is not 1/3. A percent sign may be meant either way: 5 % equals 5 and 0.05. A completion
    without a number is ``unparsable`` with reward 0; a problem without an accepted number is a ``crash`` without one.
    Raises ConfigError for a tolerance below 0.
    """

    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(self._verdict, answers))

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "numeric",
            "tolerance": self.tolerance,
            "precision": "within the tolerance" if self.tolerance else "exactly: 0.333 is not 1/3",
            **RULES,
        }

    def same(self, one: str, other: str) -> bool:
        """Return whether two numbers are equal, percent and tolerance as for accepted ones."""
        first, second = _read(one), _read(other)
        return one == other or (first is not None and second is not None and self._equal(first, second))

    def _verdict(self, answer: Answer) -> Verdict:
        texts = [accepted_answer(truth) for truth in answer.problem.answers]
        accepted = [quantity for text in texts for quantity in _accepted(text)]
        long = [text for text in texts if LONG_DIGITS.fullmatch(text)]
        given = final_answer(answer.completion)
        if given in long:
            return Verdict(1.0, answer=given)
        if not accepted and not long:
            return Verdict(
                None,
                "crash",
                f"problem {answer.problem.id}: no accepted answer is a number ({', '.join(answer.problem.answers)}); "
                "use a verifier that can judge it.",
            )
        quantity = None if given is None else _read(given)
        if quantity is None:
            return Verdict(0.0, "unparsable", "the completion has no number where its answer stands.")
        right = any(self._equal(quantity, number) for number in accepted)
        return Verdict(1.0 if right else 0.0, answer=_written(quantity))

    def _equal(self, given: Quantity, accepted: Quantity) -> bool:
        """Return whether two numbers are equal in one of the ways to read their percent signs; units are converted."""
        return any(self._near(one, other) for one, other in readings(given, accepted))

    def _near(self, given: Fraction, accepted: Fraction) -> bool:
        return abs(given - accepted) <= Fraction(self.tolerance) * (abs(accepted) or 1)


def without_noise(number: PlainNumber, text: str) -> PlainNumber:
    """Return an accepted number as it was before binary floating point added digits to it.

    A number written with 16 digits or more that is much shorter to 15 digits (0.30000000000000004), or in single
    precision (0.30000001192092896), is that shorter one.
    """
    written = sum(character.isdigit() for character in text.lstrip("-0."))
    if not number.is_decimal or not NOISY <= written <= LONGEST_NOISE:
        return number
    value = float(number.value)
    candidates = [f"{value:.15g}"]
    if abs(value) < LARGEST_SINGLE and _single(value) == value:
        candidates += [short for short in (f"{value:.{n}g}" for n in range(1, 9)) if _single(float(short)) == value]
    shortest = min(candidates, key=len)
    short = sum(character.isdigit() for character in shortest.lstrip("-0."))
    return replace(number, value=Fraction(shortest)) if short <= written - NOISE else number


def _single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _accepted(text: str) -> list[Quantity]:
    """Return the number that an accepted answer is, also without the noise of floating point."""
    quantity = _read(text)
    if quantity is None:
        return []
    plain = without_noise(quantity.number, text)
    return [quantity] if plain is quantity.number else [quantity, replace(quantity, number=plain)]


def _written(quantity: Quantity) -> str:
    number = quantity.number
    value = f"{number.value * 100}%" if number.is_percent else str(number.value)
    return f"{value} {quantity.unit}".strip()


def _read(text: str) -> Quantity | None:
    return quantity(text) or last_side(text)
