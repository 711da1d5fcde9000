"""Texts: where the answer stands, and what of its dress does not count."""

import pytest

from creditree.problem import Problem
from creditree.verify.exact import ExactText
from creditree.verify.verifier import Answer


def reward(text: str, *truths: str, ignore_case: bool = False) -> float | None:
    (verdict,) = ExactText(ignore_case).judge([Answer(Problem("p", "?", truths), "", text)])
    assert verdict.status == ("unparsable" if verdict.answer is None else "ok")
    return verdict.reward


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("The answer is St. Gallen.", "St. Gallen"),
        ("The answer is A. B. Yehoshua.", "A. B. Yehoshua"),
        ("The answer is Dr. No", "Dr. No"),
        ("I looked it up.\nSt. Gallen.", "St. Gallen"),
        ("The answer is no, because 3 > 2.", "no"),
        ("**Oslo**", "Oslo"),
        ("*Oslo*.", "Oslo"),
        ("`snake_case`", "snake_case"),
        ('"Oslo".', "Oslo"),
        ("'Oslo'", "Oslo"),
        ("The answer is 'Oslo'.", "Oslo"),
        ("‘Oslo’", "Oslo"),
        ("‚Oslo‘", "Oslo"),
        ("‹Oslo›", "Oslo"),
        ("›Oslo‹", "Oslo"),
        ("„Oslo“", "Oslo"),
        ("『正』", "正"),
        ("「『正』」", "正"),
        ("\"'Oslo'\"", "Oslo"),
        ("'**Oslo**'", "Oslo"),
        ("'don't know'", "don't know"),
        ("‘don’t know’", "don’t know"),
        ("'say \"no\"'", 'say "no"'),
        ("Oslo", "'Oslo'"),
        ("'tis", "'tis"),
        ("dogs'", "dogs'"),
        ("**Answer:** Oslo", "Oslo"),
        ("The answer is **Oslo**.", "Oslo"),
        (r"\boxed{\text{Oslo}}", "Oslo"),
        (r"\boxed{\textbf{Oslo}}", "Oslo"),
        ("<answer>Oslo</answer>, in Norway", "Oslo"),
        ("$x$", "x"),
        ("Oslo", "**Oslo**"),
        ("> Oslo", "Oslo"),
        ("### **Oslo**", "Oslo"),
        ("- Oslo", "Oslo"),
        ("Oslo", "I looked it up.\n#### Oslo"),
        ("Oslo", "The answer is Oslo."),
        ("The answer is Oslo.", "The answer is Oslo."),
        (r"\boxed{The answer is blowing in the wind}", "The answer is blowing in the wind"),
        ("the  red\tcar", "the red car"),
        ("答案是东京。", "东京"),
        ("a*b*c", "a*b*c"),
        ("J.", "J."),
    ],
)
def test_right(text: str, truth: str) -> None:
    assert reward(text, truth) == 1.0


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("The answer is Bergen.\nOslo", "Oslo"),
        (r"\boxed{yes}" + "\nno", "no"),
        ("<answer>yes</answer>\nno", "no"),
        ("The answer is St. Gallen.", "St"),
        ("oslo", "Oslo"),
        ("a*b*c", "abc"),
        ("<think>Oslo</think>Bergen", "Oslo"),
        ("'tis", "tis"),
        ("dogs'", "dogs"),
        ("'yes' or 'no'", "yes' or 'no"),
        ("the 'Oslo'", "the Oslo"),
        ("‹Oslo’", "Oslo"),
        ("'Oslo‘", "Oslo"),
    ],
)
def test_wrong(text: str, truth: str) -> None:
    assert reward(text, truth) == 0.0


def test_capitals_do_not_count_where_that_is_asked() -> None:
    assert reward("OSLO", "Oslo", ignore_case=True) == 1.0


@pytest.mark.parametrize(
    "text", ["red\nblue", "I mix them:\nred\n\nblue.", r"\boxed{red blue}", "<answer>\nred\nblue\n</answer>"]
)
def test_an_accepted_answer_of_two_lines_is_met_by_two(text: str) -> None:
    assert reward(text, "red\nblue") == 1.0
    assert reward("red\ngreen", "red\nblue") == 0.0
    assert reward("blue", "red\nblue") == 0.0


@pytest.mark.parametrize("text", ["", " \n", r"\boxed{}", "<think>Oslo", "**"])
def test_no_answer(text: str) -> None:
    assert reward(text, "Oslo") == 0.0


def test_without_a_reference_there_is_no_reward() -> None:
    (verdict,) = ExactText().judge([Answer(Problem("p", "?", (" ",)), "", "x")])
    assert (verdict.reward, verdict.status) == (None, "crash")


def test_long_texts_are_read_in_time() -> None:
    for piece in ("**a ", r"\text{", "_a", '"', "'", "a'", "‘a’", "‹a’", "'a’", "***a **b", "$", "**", "a\n"):
        reward(piece * 20_000, "x")
