"""Options of a row."""

import pytest

from creditree.problem import Problem
from creditree.verify.choice import Choice
from creditree.verify.verifier import Answer

FRUIT = {"choices": ["pears", "apples", "figs"]}


def answer(text: str, *truths: str, **columns: object) -> Answer:
    return Answer(Problem("p", "?", truths, columns), "", text)


@pytest.mark.parametrize(
    ("text", "truth", "columns", "reward", "status"),
    [
        ("The answer is apples.", "B", FRUIT, 1.0, "ok"),
        ("(B) apples", "apples", FRUIT, 1.0, "ok"),
        ("\\boxed{apples}", "B", {"options": {"a": "pears", "b": "apples"}}, 1.0, "ok"),
        ("B", "B", {"choices": {"label": ["A", "B"], "text": ["pears", "apples"]}}, 1.0, "ok"),
        ("The answer is figs", "B", FRUIT, 0.0, "ok"),
        ("The answer is D", "B", FRUIT, 0.0, "unparsable"),
        ("plums", "B", FRUIT, 0.0, "unparsable"),
        ("B", "12", {}, None, "crash"),
    ],
)
def test_options(text: str, truth: str, columns: dict[str, object], reward: float | None, status: str) -> None:
    (verdict,) = Choice().judge([answer(text, truth, **columns)])
    assert (verdict.reward, verdict.status) == (reward, status)
