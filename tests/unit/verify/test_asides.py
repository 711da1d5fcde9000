"""What a sentence says beside its answer."""

import pytest

from creditree.verify.asides import asks, consequence, corrected, is_question, without_asides


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("The least cost is $-\\frac23$, attained at $t=\\frac16$", "The least cost is $-\\frac23$"),
        ("The largest area is 80 square feet, reached when w = 8", "The largest area is 80 square feet"),
        ("The best is 19 (because 19 = 20 - 1)", "The best is 19"),
        ("It has the value $5$ at $x=0$", "It has the value $5$"),
        ("The top is at x = 3, where it is 11", "The top is at x = 3, where it is 11"),
        ("When x = 4, y is 9", "When x = 4, y is 9"),
        ("The sum is 8, when a = 3, so b is 5", "The sum is 8, when a = 3, so b is 5"),
        ("The remainder is 3 (mod 8)", "The remainder is 3 (mod 8)"),
    ],
)
def test_where_a_value_is_taken_is_an_aside(sentence: str, kept: str) -> None:
    assert without_asides(sentence) == kept


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("14, no wait, 15", "15"),
        ("14. Sorry, it's 15", "15"),
        ("$14$ - scratch that, $15$", "$15$"),
        ("14. No. 15 is the largest", None),
        ("14. Wait, let me check", None),
        ("14, no more", None),
    ],
)
def test_a_correction_takes_the_place_of_an_answer(text: str, better: str | None) -> None:
    assert corrected(text) == better


def test_what_follows_from_the_rest() -> None:
    assert consequence("He has 4 and she has 9, so 13 together") == "13 together"
    assert consequence("He has 4, so that she has 9") is None
    assert consequence("He has 4, so she wins") is None


def test_a_question_asserts_nothing() -> None:
    text = "Is it clear that the answer is 9? Yes: 3 * 3."
    assert asks(text, text.index("answer"), text.index("9"))
    told = "Is it even? The answer is 9."
    assert not asks(told, told.index("answer"), told.index("9"))
    assert is_question("**Is it 9?**\n")
    assert not is_question("It is 9.")
