"""Exact text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from creditree.problem import Verdict
from creditree.verify.final_answer import after_thinking, boxed, cleaned, stated, unboxed
from creditree.verify.verifier import Answer, Verifier

SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ExactText(Verifier):
    """Reward 1 if the completion's answer is an accepted text, else 0.

    The answer is what is boxed, else what follows "answer is", else all of a completion of one line, else its last
    line. Runs of white space count as one space, and a full stop at the end does not count; capitals do unless
    `ignore_case`. An empty completion is ``unparsable`` with reward 0.
    """

    ignore_case: bool = False

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        return tuple(map(self._verdict, answers))

    def _verdict(self, answer: Answer) -> Verdict:
        accepted = {self._normal(unboxed(truth)) for truth in answer.problem.answers} - {""}
        if not accepted:
            return Verdict(None, "crash", f"problem {answer.problem.id}: it has no accepted answer to compare with.")
        text = cleaned(after_thinking(answer.completion))
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return Verdict(0.0, "unparsable", "the completion gives no answer.")
        said = stated(text)
        given = boxed(text)
        if given is None:
            given = lines[-1] if said is None else said
        found = self._normal(given)
        return Verdict(1.0 if found in accepted else 0.0, answer=found)

    def _normal(self, text: str) -> str:
        text = SPACES.sub(" ", cleaned(text)).strip()
        text = text.removesuffix(".").rstrip() if len(text) > 1 else text
        return text.casefold() if self.ignore_case else text
