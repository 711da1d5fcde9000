"""A verifier whose answers are judged by a crew: on all processors that there are."""

from collections.abc import Sequence
from math import ceil

from creditree.problem import Verdict
from creditree.scale.crew import Crew, Order
from creditree.tree import RolloutTree
from creditree.verify.verifier import Answer, Rules, Verifier

FEWEST = 8
"""Answers that are sent to another process, at least: a short one is judged in less time than it is sent. Ours."""


class CrewVerifier(Verifier):
    """Judges by the workers' verifiers, which are as the one `here`; all that is no judging is asked of that."""

    __slots__ = ("_crew", "_here", "_number")

    def __init__(self, here: Verifier, crew: Crew, number: int = 0) -> None:
        """`number`: which of the workers' verifiers."""
        self._here, self._crew, self._number = here, crew, number

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        if len(answers) < 2 * FEWEST:
            return self._here.judge(answers)
        size = max(FEWEST, ceil(len(answers) / (4 * self._crew.size)))
        parts = [answers[start : start + size] for start in range(0, len(answers), size)]
        judged = self._crew.run([Order("judge", (part, self._number)) for part in parts], None)
        return tuple(verdict for part in judged for verdict in part)

    def same(self, one: str, other: str) -> bool | None:
        """Return whether two answers are one answer."""
        return self._here.same(one, other)

    def rules(self) -> Rules:
        """Return what decides its verdicts."""
        return self._here.rules()

    @property
    def singles(self) -> tuple[str, ...]:
        """The names of the rewards that its verdicts are a sum of."""
        return self._here.singles

    def credited(self, tree: RolloutTree) -> RolloutTree:
        """Return a tree with the rewards that credit is given for."""
        return self._here.credited(tree)

    def close(self) -> None:
        """Free what the verifier of this process holds; the workers' end with them."""
        self._here.close()
