"""Numbers: integers, decimals, fractions, percent; compared exactly, or within a tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from creditree.errors import ConfigError
from creditree.problem import Verdict
from creditree.verify.final_answer import after_thinking, boxed, cleaned, stated, unboxed
from creditree.verify.latex import tidy
from creditree.verify.number import PlainNumber, last_number, plain_number
from creditree.verify.verifier import Answer, Rules, Verifier


@dataclass(frozen=True, slots=True)
class Numeric(Verifier):
    """Reward 1 if the number that the completion answers with equals an accepted one, else 0.

    The number is what is boxed, else the last one behind "answer is", else the last one of the completion.
    `tolerance`: largest relative difference, and largest absolute one where the accepted number is 0; at 0 numbers are
    compared exactly, so 0.333 is not 1/3. A percent sign may be meant either way: 5 % equals 5 and 0.05. A completion
    without a number is ``unparsable`` with reward 0; a problem without an accepted number is a ``crash`` without one.
    Raises ConfigError for a tolerance below 0.
    """

    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf"):
            raise ConfigError(f"the tolerance of numeric is {self.tolerance}: set 0, or a small number such as 1e-6.")

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(self._verdict, answers))

    def rules(self) -> Rules:
        """Return its rules."""
        return {
            "grader": "numeric",
            "tolerance": self.tolerance,
            "precision": "within the tolerance" if self.tolerance else "exactly: 0.333 is not 1/3",
        }

    def same(self, one: str, other: str) -> bool:
        """Return whether two numbers are equal, percent and tolerance as for accepted ones."""
        first, second = _read(one), _read(other)
        return one == other or (first is not None and second is not None and self._equal(first, second))

    def _verdict(self, answer: Answer) -> Verdict:
        accepted = [
            number for truth in answer.problem.answers if (number := _read(cleaned(unboxed(truth)))) is not None
        ]
        if not accepted:
            return Verdict(
                None,
                "crash",
                f"problem {answer.problem.id}: no accepted answer is a number ({', '.join(answer.problem.answers)}); "
                "use a verifier that can judge it.",
            )
        found = answered_number(answer.completion)
        if found is None:
            return Verdict(0.0, "unparsable", "the completion has no number where its answer stands.")
        right = any(self._equal(found, number) for number in accepted)
        return Verdict(1.0 if right else 0.0, answer=_written(found))

    def _equal(self, found: PlainNumber, accepted: PlainNumber) -> bool:
        pairs = [(found.value, accepted.value)]
        if found.is_percent and not accepted.is_percent:
            pairs.append((found.value * 100, accepted.value))
        elif accepted.is_percent and not found.is_percent:
            pairs.append((found.value, accepted.value * 100))
        return any(self._near(one, other) for one, other in pairs)

    def _near(self, found: Fraction, accepted: Fraction) -> bool:
        return abs(found - accepted) <= Fraction(self.tolerance) * (abs(accepted) or 1)


def answered_number(completion: str) -> PlainNumber | None:
    """Return the number that a completion answers with, or None; what is boxed counts before what is said."""
    text = cleaned(after_thinking(completion))
    inside = boxed(text)
    if inside is not None:
        return _read(inside) or last_number(tidy(inside))
    said = stated(text)
    if said is not None:
        number = _read(said) or last_number(said)
        if number is not None:
            return number
    return plain_number(text) or last_number(text)


def _written(number: PlainNumber) -> str:
    return f"{number.value * 100}%" if number.is_percent else str(number.value)


def _read(text: str) -> PlainNumber | None:
    return plain_number(text) or plain_number(tidy(text))
