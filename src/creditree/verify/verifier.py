"""What a verifier is: it turns completions into verdicts, and no completion can make it raise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from creditree.problem import Problem, Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion to judge: the problem, the prompt as the model saw it, and the text it wrote."""

    problem: Problem
    prompt: str
    completion: str


class Verifier(Protocol):
    """Judges completions, several at a time. One that holds processes has a method ``close`` too (see `closing`)."""

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order; never raises for what an answer says."""


AnyVerifier = TypeVar("AnyVerifier", bound=Verifier)


@contextmanager
def closing(verifier: AnyVerifier) -> Iterator[AnyVerifier]:
    """Free what a verifier holds at the end of the block: whoever built it uses it in one.

    A verifier that is never closed frees its processes when it is no longer used, at the latest at the program's end.
    """
    try:
        yield verifier
    finally:
        close = getattr(verifier, "close", None)
        if close is not None:
            close()
