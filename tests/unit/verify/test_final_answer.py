"""Where a completion says its answer is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.final_answer import boxed, cleaned, final_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{5}", "5"),
        ("\\boxed{1} and then \\boxed{2}", "2"),
        ("\\boxed{1} and then \\fbox{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("\\boxed 5", "5"),
        ("\\boxed{5", None),
        ("\\boxed", None),
        ("5", None),
    ],
)
def test_the_last_box(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("<think>a</think>b</think> The answer is 7.", "7"),
        ("The answer is $x^2$.", "x^2"),
        ("The answer is 3.5. I am sure.", "3.5"),
        ("The answer is $3$ and $4$.", "3, 4"),
        ("Final Answer: (B)", "(B)"),
        ("work\n#### 1,200", "1,200"),
        ("**Answer:** $\\$5$", "\\$5"),
        ("thus $a = 1$, hence $b = 2$ holds there", "b = 2"),
        ("we count 3 red, then 12 blue ones", "12"),
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("\\boxed{}", None),
        ("", None),
        ("I do not know", None),
    ],
)
def test_the_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_marks_that_change_nothing_that_is_seen_are_dropped() -> None:
    assert cleaned("\u202e1\u200b2\ud8003\0") == "123"
    assert cleaned("e\u0301") == "é"


@given(st.text(alphabet="\\{}$abx1. \n</think>boxed", max_size=300))
def test_any_text_can_be_asked(text: str) -> None:
    answer = final_answer(text)
    assert answer is None or answer
