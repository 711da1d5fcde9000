"""What a verifier is: it turns completions into verdicts, and no completion can make it raise."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from creditree.problem import Problem, Verdict

if TYPE_CHECKING:  # it brings numpy, and processes that judge do without
    from creditree.tree import RolloutTree

Rules = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion to judge: the problem, the prompt as the model saw it, and the text it wrote.

    `num_tokens`: its tokens;  `max_tokens`: how many it could have had;  `token_ids`: which they are. None: not known
    here, as for a saved text.
    """

    problem: Problem
    prompt: str
    completion: str
    num_tokens: int | None = None
    max_tokens: int | None = None
    token_ids: tuple[int, ...] | None = None


class Verifier(ABC):
    """Judges completions, several at a time. A completion has one answer; `Verdict.answer` says which was judged."""

    __slots__ = ()

    @abstractmethod
    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order; never raises for what an answer says."""

    def same(self, one: str, other: str) -> bool | None:
        """Return whether two answers that it read are one answer to it; None where that cannot be found out.

        Equal texts are one answer to every verifier. One that compares by more than the text says it here: completions
        that decide by majority vote together where their answers are the same.
        """
        return one == other

    def rules(self) -> Rules:
        """Return what decides its verdicts beside the answers: its name as ``grader``, its options, and its own rules.

        Shown to readers and recorded with everything that it judged, so that figures can be told apart by them.
        """
        return {"grader": type(self).__name__}

    @property
    def singles(self) -> tuple[str, ...]:
        """The names of the rewards that its verdicts are a sum of; () where there is one alone."""
        return ()

    def credited(self, tree: "RolloutTree") -> "RolloutTree":
        """Return a tree with the rewards that credit is to be given for: those of its verdicts, unless it says."""
        return tree

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Free what it holds, such as processes; judging again starts them again."""


AnyVerifier = TypeVar("AnyVerifier", bound=Verifier)


@contextmanager
def closing(verifier: AnyVerifier) -> Iterator[AnyVerifier]:
    """Free what a verifier holds at the end of the block: whoever built it uses it in one.

    A verifier that is never closed frees its processes when it is no longer used, at the latest at the program's end.
    """
    try:
        yield verifier
    finally:
        verifier.close()
