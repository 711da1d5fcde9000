"""Mathematical answers: DeepScaleR's rules, then math-verify with a second look, in processes that can be killed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from creditree.problem import Problem, Verdict
from creditree.text import shortened
from creditree.verify.characters import cleaned
from creditree.verify.final_answer import located
from creditree.verify.latex import LONGEST_ANSWER, mathd
from creditree.verify.pool import Job, WorkerPool
from creditree.verify.prose import accepted_answer, final_answer, option_in
from creditree.verify.quantity import RULES, quantities_equal, quantity
from creditree.verify.verifier import Answer, Rules, Verifier

OPERATION = re.compile(r"[0-9)}]\s*(?:[-+*/×·^!]|\\(?:times|cdot|div))|\\(?:sqrt|frac|binom)")
PRODUCT = re.compile(r"[0-9][0-9.,]*+(?>(?:\s?(?:\*|×|·|\\(?:times|cdot)(?![A-Za-z]))\s?[0-9][0-9.,]*+)+)")
LETTER = re.compile(r"\(?[A-H]\)?|\\(?:text(?:bf)?|mathrm)\{\(?[A-H]\)?\}")
LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True, eq=False)
class Mathematics(Verifier):
    """Reward 1 if the final answer equals an accepted one as mathematics, else 0.

    The final answer is found by `final_answer`; a completion without one is ``unparsable``. Equal texts and plain
    numbers are judged at once; anything else is compared in a worker of `pool` (see `symbolic`), where a ``timeout``
    and a ``crash`` are reward 0: such an answer may be meant to hurt, and must not be worth more than a wrong one.
    Of ``(D) 15`` the value counts, and the letter where the accepted answer is one. A product of numbers that is all of
    an open text, as ``12*5``, is no number. With `math_verify` off only DeepScaleR's rules count: 2/4 is not 1/2.
    """

    pool: WorkerPool = field(default_factory=WorkerPool)
    math_verify: bool = True

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order; equal answers to one problem are compared once."""
        verdicts: dict[int, Verdict] = {}
        waiting: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for index, answer in enumerate(answers):
            seen = self._at_once(answer)
            if isinstance(seen, Verdict):
                verdicts[index] = seen
            else:
                waiting.setdefault(seen, []).append(index)
        judged = self.pool.run([self._job(*pair) for pair in waiting]) if waiting else []
        for ((given, _), indices), verdict in zip(waiting.items(), judged, strict=True):
            verdicts |= dict.fromkeys(indices, replace(verdict, answer=given))
        return tuple(verdicts[index] for index in range(len(answers)))

    def rules(self) -> Rules:
        """Return its rules."""
        limits = self.pool.limits
        return {
            "grader": "math",
            "math_verify": self.math_verify,
            "precision": "a decimal equals what agrees to 6 places and within 2e-6 of it; else exactly",
            **RULES,
            "deadline_s": limits.deadline_s,
            "workers": limits.num_workers,
            "memory_bytes": limits.memory_bytes,
        }

    def same(self, one: str, other: str) -> bool | None:
        """Return whether two answers are equal as mathematics; None where comparing them takes too long."""
        decided = True if one == other else self._numbers(one, (other,))
        if decided is not None:
            return decided
        (verdict,) = self.pool.run([self._job(one, (other,))])
        return None if verdict.status in ("timeout", "crash") else verdict.reward == 1.0

    def close(self) -> None:
        """End the workers."""
        self.pool.close()

    def _job(self, answer: str, truths: tuple[str, ...]) -> Job:
        return {"answer": answer, "truths": truths, "math_verify": self.math_verify}

    def _at_once(self, answer: Answer) -> Verdict | tuple[str, tuple[str, ...]]:
        """Return the verdict where it needs no formula, else the answer and the accepted ones to compare."""
        truths = tuple(map(accepted_answer, answer.problem.answers))
        if not any(truths):
            return Verdict(None, "crash", _unusable(answer.problem))
        lettered = all(map(LETTER.fullmatch, truths))
        given = (option_in(answer.completion) if lettered else None) or final_answer(answer.completion)
        if given is None:
            return Verdict(0.0, "unparsable", "the completion gives no answer.")
        if lettered and given in {re.sub(r"[^A-H]", "", truth) for truth in truths}:
            return Verdict(1.0, answer=given)
        if given in truths or any(given == cleaned(truth) for truth in answer.problem.answers):
            return Verdict(1.0, answer=given)
        if len(given) > LONGEST_ANSWER:
            return Verdict(0.0, "unparsable", f"the answer has {len(given)} characters.")
        decided = self._numbers(given, truths)
        if decided is None and _is_product(given, answer.completion) and any(map(quantity, truths)):
            return Verdict(0.0, "ok", "the answer is a product that is not worked out.", given)
        if decided is not None:
            return Verdict(1.0 if decided else 0.0, answer=given)
        short = tuple(truth for truth in truths if len(truth) <= LONGEST_ANSWER)
        if not any(short):
            return Verdict(None, "crash", _unusable(answer.problem))
        if _restates(given, answer.problem) and any(map(quantity, short)):
            return Verdict(0.0, "ok", "the answer is the question's own expression, not its value.", given)
        return given, short

    def _numbers(self, given: str, truths: Sequence[str]) -> bool | None:
        """Return whether one number equals another, or None where something is not a plain number."""
        number = quantity(given)
        if number is None:
            return None
        others = [quantity(truth) for truth in truths]
        known = [other for other in others if other is not None]
        if self.math_verify:
            if any(quantities_equal(number, other) for other in known):
                return True
            doubtful = number.is_doubtful or any(other.is_doubtful for other in known)
            return False if len(known) == len(others) and not doubtful else None
        short = (truth for truth in truths if len(truth) <= LONGEST_ANSWER)
        return True if any(mathd(given) == mathd(truth) for truth in short) else None


def _unusable(problem: Problem) -> str:
    texts = ", ".join(shortened(truth, LONGEST_SHOWN) for truth in problem.answers)
    return (
        f"problem {problem.id}: no accepted answer is a formula, a number or a short text ({texts}); "
        "write the answer alone, or behind ####, or use a verifier that can judge it."
    )


def _is_product(given: str, completion: str) -> bool:
    """Return whether an answer is a product of plain numbers, and all of a text that marks no answer."""
    if PRODUCT.fullmatch(given) is None:
        return False
    place = located(completion)
    return place is not None and place.how == "open" and place.text.strip(" $.\n") == given


def _restates(given: str, problem: Problem) -> bool:
    """Return whether an answer that is still to be worked out stands in the question: 123 * 4 for "What is 123*4?"."""
    if not OPERATION.search(given):
        return False
    question, plain = (re.sub(r"\\(?:times|cdot)|[×·]", "*", text) for text in (problem.question, given))
    return re.sub(r"[\s$]", "", plain) in re.sub(r"[\s$]", "", question)
