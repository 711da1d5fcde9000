"""Where a completion says its answer is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.final_answer import after_thinking, boxed, cleaned, located
from creditree.verify.prose import final_answer


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
        ("\\boxed{5} and \\boxed{}", None),
        ("\\boxed{} and \\boxed{5}", "5"),
        ("", None),
        ("I do not know", None),
    ],
)
def test_the_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_marks_that_change_nothing_that_is_seen_are_dropped() -> None:
    assert cleaned("\u202e1\u200b2\ud8003\0") == "123"
    assert cleaned("e\u0301") == "é"
    assert cleaned("a" + " " * 1000 + "b \n c") == "a" + " " * 200 + "b \n c"


@given(st.text(alphabet="\\{}$abx1. \n</think>boxed", max_size=300))
def test_any_text_can_be_asked(text: str) -> None:
    answer = final_answer(text)
    assert answer is None or answer


@pytest.mark.parametrize(
    ("text", "how", "place"),
    [
        ("It is \\boxed{7}, so the answer is 8.", "box", "7"),
        ("\\boxed{7} and \\boxed{9}", "box", "7, 9"),
        ("\\boxed{7}\n\\boxed{9}", "box", "9"),
        ("\\boxed{7}, or again \\boxed{7}", "box", "7"),
        ("<answer>7</answer> (I used 3 and 4; the answer is 9)", "tag", "7"),
        ("<answer>7</answer> no, <answer>8</answer>", "tag", "8"),
        ("<answer>so \\boxed{7}</answer>", "box", "7"),
        ("<answer>7</answer> Checked: \\boxed{8}", "box", "8"),
        ("\\boxed{8} <answer>7</answer>", "tag", "7"),
        ("The answer is seven, because 8 - 1 = 7.", "stated", "seven"),
        ("The answer is St. Helena. It is an island.", "stated", "St. Helena"),
        ("## Final answer\n\n7", "stated", "7"),
        ('{"answer": 7, "unit": "m"}', "stated", "7"),
        ("The answer is 7.\nThe answer is", "stated", "7"),
        ("#### Steps\nadd up\n#### 7", "stated", "7"),
        ("答案是７，不是8。", "stated", "7"),
        ("정답은 7입니다.", "stated", "7입니다"),
        ("La respuesta correcta es 7.", "stated", "7"),
        ("La réponse est : 7", "stated", "7"),
        ("Die Antwort lautet 7.", "stated", "7"),
        ("Ответ: 7.", "stated", "7"),
        ("La risposta è 7.", "stated", "7"),
        ("It is seven", "open", "It is seven"),
        ("<think>no</think>\nseven", "open", "seven"),
        ("prefilled</think>\nseven", "open", "seven"),
    ],
)
def test_the_one_place(text: str, how: str, place: str) -> None:
    found = located(text)
    assert found is not None
    assert (found.how, found.text) == (how, place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think>It is \\boxed{7}. Let me",
        "<think>a</think> It is 7. <think>But \\boxed{8}",
        "<Thinking>The answer is 7",
        "\\boxed{}",
        "<answer> </answer>",
    ],
)
def test_no_place(text: str) -> None:
    assert located(text) is None


def test_a_very_long_text_is_read_at_its_end() -> None:
    assert after_thinking("<think>" + "x" * 10**6) == ""
    assert after_thinking("7 " * 10**6 + "</think>8") == "8"


def test_characters_of_other_scripts() -> None:
    assert cleaned("\uff11\uff12 \u0664\u0662 \u22125 x\u00b2 5\u207b\u00b3 1\u00bd \uff08B\uff09 a\u2081\u2080") == (
        "12 42 -5 x^{2} 5^{-3} 1\\frac{1}{2} (B) a_{10}"
    )
