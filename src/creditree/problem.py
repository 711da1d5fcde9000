"""A problem to solve, and the verdict on one completion of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Literal

Status = Literal["ok", "unparsable", "timeout", "crash"]

CORRECT = 1.0
"""A completion is correct if its task's reward reaches this."""


def _no_columns() -> Mapping[str, object]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its accepted answers.

    `question` is bare: the prompt's wording belongs to the task. `columns` holds what else its row had; reward
    functions receive it by name. `solution`: the text of a worked solution, None where its row has none. `task`: which
    task of a mixture it is from; "" where there is one.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    columns: Mapping[str, object] = field(default_factory=_no_columns, compare=False)
    solution: str | None = field(default=None, compare=False)
    task: str = field(default="", compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Let it go to another process: a view of a dict, which its columns are, cannot."""
        return _received, (self.id, self.question, self.answers, dict(self.columns), self.solution, self.task)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the question and its accepted answers, whatever the id."""
        return _sha256([self.question, list(self.answers)])[:16]


def _received(
    name: str,
    question: str,
    answers: tuple[str, ...],
    columns: Mapping[str, object],
    solution: str | None,
    task: str,
) -> Problem:
    return Problem(name, question, answers, MappingProxyType(columns), solution, task)


def ids_by_task(problems: Iterable[Problem]) -> dict[str, tuple[str, ...]]:
    """Return the ids of problems by the task of a mixture that they are from; empty where there is one task."""
    by_task: dict[str, list[str]] = {}
    for problem in problems:
        if problem.task:
            by_task.setdefault(problem.task, []).append(problem.id)
    return {task: tuple(ids) for task, ids in by_task.items()}


def fingerprint(problems: Iterable[Problem]) -> str:
    """Return the sha256 of ids, questions and accepted answers in their order: equal for the same set, from wherever.

    The text that is hashed is the JSON list of ``[id, question, answers]``, without spaces, in ASCII.
    """
    return _sha256([[problem.id, problem.question, list(problem.answers)] for problem in problems])


def _sha256(value: object) -> str:
    return sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one completion.

    `reward` is None where none could be computed for a reason that is not the completion's (a reward function that
    fails, a problem that cannot be judged so); such a completion is counted and shown, never trained on.
    `status` is ``ok`` (judged), ``unparsable`` (no answer found), ``timeout`` or ``crash``. Where the answer itself is
    the reason, as with a formula that takes too long, the reward is 0: else writing such a thing would pay.
    `answer` is the text that was judged, None where the completion gives none: what it votes for in a majority.

    `singles`: the rewards of which `reward` is a weighted sum, in the order of the configuration; () where there is one
    alone. The first is the task's: whether a completion is correct, and so every accuracy, is its word alone, whatever
    the others add to the reward that is trained on. Where any is None, so is the sum.
    """

    reward: float | None
    status: Status = "ok"
    detail: str = ""
    answer: str | None = field(default=None, compare=False)
    singles: tuple[float | None, ...] = ()

    @property
    def is_correct(self) -> bool | None:
        """Whether the completion is correct; None where who judges the task could not say."""
        return correct(self.reward, self.singles)


def correct(reward: float | None, singles: Sequence[float | None]) -> bool | None:
    """Return whether a completion is correct, by its only reward or else by the first of several; None: not judged."""
    said = singles[0] if singles else reward
    return None if said is None else said >= CORRECT
