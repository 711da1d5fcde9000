"""What a verifier is: it turns completions into verdicts, and no completion can make it raise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from creditree.problem import Problem, Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion to judge: the problem, the prompt as the model saw it, and the text it wrote."""

    problem: Problem
    prompt: str
    completion: str


class Verifier(Protocol):
    """Judges completions, several at a time."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order; never raises for what an answer says."""
