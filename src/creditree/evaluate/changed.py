"""Problems whose outcome training changed, with what the model said before and after."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.problem import Problem

EXAMPLES = "examples.json"
"""The file of a run that keeps some."""
MOST_EXAMPLES = 3
LONGEST_TEXT = 600


@dataclass(frozen=True, slots=True)
class ChangedExample:
    """A problem whose outcome changed, with what the model said before and after."""

    id: str
    question: str
    answers: tuple[str, ...]
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """Return the example as JSON."""
        return asdict(self)


def examples(
    problems: Sequence[Problem], before: Evaluation, after: Evaluation
) -> tuple[list[ChangedExample], list[ChangedExample]]:
    """Return the first problems that are solved after and were not before, and the first of the reverse."""
    better: list[ChangedExample] = []
    worse: list[ChangedExample] = []
    for problem in problems:
        old, new = before.attempts[problem.id][0], after.attempts[problem.id][0]
        if None not in (old.is_correct, new.is_correct) and is_correct(old) != is_correct(new):
            texts = shortened(old.text), shortened(new.text)
            shown = ChangedExample(problem.id, problem.question, problem.answers, *texts)
            (better if is_correct(new) else worse).append(shown)
    return better[:MOST_EXAMPLES], worse[:MOST_EXAMPLES]


def shortened(text: str) -> str:
    """Return a text whose middle is left out where it is long: the end has the answer."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]} [...] {text[-half:]}"
