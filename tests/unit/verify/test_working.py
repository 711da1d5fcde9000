"""Brackets behind a number that only show its working: dropped where they say what it says, and nowhere else."""

import pytest

from creditree.problem import Problem
from creditree.verify.numeric import Numeric
from creditree.verify.verifier import Answer
from creditree.verify.working import without_working


def read(text: str) -> str | None:
    """Return what `numeric` reads in a completion."""
    (verdict,) = Numeric().judge([Answer(Problem("p", "?", ("12",)), "", text)])
    return verdict.answer


@pytest.mark.parametrize(
    "text",
    [
        "12 (5 + 7)",
        "12 (= 5 + 7)",
        "12 (5 + 7 = 12).",
        "12 (3 × 4)",
        "12 (3 x 4)",
        "12 (24/2)",
        "12 (2 * 3 + 6)",
        "12 (20 - 3 - 5)",
        "12 (4² - 4)",
        "12 (2^3 + 4)",
        "12 ($5 + 7$)",
        r"12 (3 \times 4)",
        "12 (= 1 dozen)",
        "12 apples (8 red + 4 green)",
        "12 red apples (8 + 4)",
        "12 (8 red and 4 green)",
        "**12 (5 + 7)**",
        "The answer is 12 (5 + 7).",
        "Total: 12 (5 + 7)",
        "#### 12 (5+7)",
        "<answer>12 (5 + 7)</answer>",
        "So she has 12 (5 + 7) apples.",
        "She has 5 and he has 7.\nSo they have 12 apples (5 + 7) in all.",
    ],
)
def test_the_number_before_its_working_is_the_answer(text: str) -> None:
    assert str(read(text)).removesuffix("apples").strip() == "12"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("-12 (5 - 17)", "-12"),
        ("1,200 (400 × 3)", "1,200"),
        ("50% (10/20)", "50%"),
        ("3.33 (10/3)", "3.33"),
        ("1/2 (3/6)", "1/2"),
        ("$12 ($5 + $7)", "$12"),
        ("12 cm (5 cm + 7 cm), in all", "12 cm, in all"),
        ("12 (5 + 7) and 3 (1 + 2)", "12 and 3"),
    ],
)
def test_brackets_that_say_what_the_number_says_go(text: str, kept: str) -> None:
    assert without_working(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "13 (5 + 7)",  # a product, or a slip: nobody knows which number is meant
        "12 (2 + 3)",
        "12 (= 5)",
        "12 (12)",
        "12 (5)",
        "3(1+2)",
        "12(5 + 7)",
        "3.34 (10/3)",
        "12 (mod 5)",
        "12 (5, 7)",
        "5 (km)",
        "f (x) = 2",
        "f (5 + 7)",
        "x (5 + 7)",
        "x12 (5 + 7)",
        "2 * 12 (5 + 7)",
        "2 x 12 (5 + 7)",
        "x + 12 (5 + 7)",
        "2^12 (5 + 7)",
        "2 1/2 (2/4)",
        "sin 12 (5 + 7)",
        "12 times (5 + 7)",
        "12 x (5 + 7)",
        "12 of (5 + 7)",
        "12 plus (5 + 7)",
        "12 (5 + 7) + 3",
        "12 (5 + 7)/2",
        "12 (5 + 7)^2",
        "12 (5 + 7) x",
        "12 (5 + 7) times 3",
        "12 (5 + 7)(1 + 2)",
        "12 (5 + 7) %",
        "$12 (5 + 7)$",
        r"\(12 (5 + 7)\)",
        "12 (5 + n)",
        "12 (5 or 7)",
        "12 (12/0)",
        "12 (+)",
    ],
)
def test_any_other_bracket_stays(text: str) -> None:
    assert without_working(text) == text


@pytest.mark.parametrize("text", [r"\boxed{12 (5 + 7)}", "13 (5 + 7)", "The answer is 13 (6 + 6).", "7 (5 + 7)"])
def test_no_wrong_answer_becomes_right(text: str) -> None:
    assert read(text) != "12"


def test_long_texts_are_read_in_time() -> None:
    for piece in ("12 (5 + 7) ", "12 (", "12 ab ", "1,", "12 (" + "5 + " * 49, "12 (5 ab cd "):
        without_working(piece * 20_000)
