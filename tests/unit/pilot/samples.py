"""Problems, splits and judged completions made in memory."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from creditree.evaluate.accuracy import Evaluation
from creditree.pilot.problems import PlacedProblem, Splits
from creditree.problem import Problem
from creditree.runs.attempts import Attempt
from creditree.tasks.split import Slice


def problem(name: str, question: str, *answers: str, **columns: object) -> Problem:
    """Return a problem; further columns by name."""
    return Problem(name, question, answers or ("1",), MappingProxyType(columns))


def placed(question: str, *answers: str, name: str = "p", place: str = "", named: Slice | None = None) -> PlacedProblem:
    """Return a problem at a place, the question itself unless one is given."""
    return PlacedProblem(problem(name, question, *answers), place or f"row {question}", named)


def splits(training: Sequence[Problem], validation: Sequence[Problem] = (), test: Sequence[Problem] = ()) -> Splits:
    """Return splits of problems whose place is their id."""
    slices: dict[Slice, Sequence[Problem]] = {"training": training, "validation": validation, "test": test}
    return Splits({slice_: tuple(PlacedProblem(one, one.id) for one in own) for slice_, own in slices.items()})


def attempt(name: str, reward: float | None, text: str = "", index: int = 0, vote: str | None = None) -> Attempt:
    """Return a judged completion of 10 tokens."""
    return Attempt(name, index, reward, "crash" if reward is None else "ok", vote, 10, truncated=False, text=text)


def evaluation(rewards: Mapping[str, float | None], text: str = "") -> Evaluation:
    """Return one completion a problem, whose text is `text` and the problem's id."""
    return Evaluation.of(attempt(name, reward, text + name) for name, reward in rewards.items())
