"""The last integer: golden readings, and properties over all texts."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.problem import Problem
from creditree.verify.characters import plain
from creditree.verify.last_integer import LastInteger, last_integer
from creditree.verify.verifier import Answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234", 1234),
        ("1,234,567 coins", 1234567),
        ("12.", 12),
        ("12, or so", 12),
        ("-5", -5),
        ("x = -5", -5),
        ("(-5)", -5),
        ("\u22125", -5),
        ("18.0", 18),
        ("$1,234.00", 1234),
        ("none", None),
        ("", None),
        ("-", None),
        (",", None),
        # A decimal is one number, and not an integer: never 50, never 3.
        ("3.50", None),
        ("4 coins of 3.50", 4),
        ("4 and .5", 4),
        ("so...5", 5),
        # A minus right after a digit, a letter or a bracket takes away; it is no sign.
        ("10-5=", 5),
        ("10-5=5", 5),
        ("(3)-2", 2),
        ("x-2", 2),
        ("10 - 5", 5),
        ("10 -5", -5),
        ("8-14=-6", -6),
        ("7*6=42\n4*6+4=28\n3*6+2=20\n2082", 2082),
        ("007", 7),
        ("-0", 0),
        ("3/4", 4),
        # A comma belongs to a number before groups of three digits, and to no other.
        ("3,5", 5),
        ("20,24", 24),
        ("1,2345", 2345),
        ("12345,678", 678),
        ("1,234,56", 56),
        ("12,", 12),
        # Digits of other scripts, and dashes that are meant as minus.
        ("\uff11\uff12", 12),
        ("\u0664\u0662", 42),
        ("= \u20135", -5),
        ("\u5171\u670942\u4e2a", 42),
        # Raised figures belong to a unit or are a power, and \u00bd is no integer.
        ("5 m\u00b2", 5),
        ("5 m^{2}", 5),
        ("5\u00bd", 5),
    ],
)
def test_golden_readings(text: str, expected: int | None) -> None:
    assert last_integer(text) == expected


def test_digit_strings_longer_than_python_converts_are_no_integer() -> None:
    assert last_integer("9" * (sys.get_int_max_str_digits() + 1)) is None
    assert last_integer("5 then " + "9" * 641) is None
    assert last_integer("0" * 5000 + "7") == 7
    assert last_integer("9" * 640) == 10**640 - 1


@given(st.integers(-(10**30), 10**30), st.text(alphabet=st.characters(exclude_categories=["Nd"]), max_size=20))
def test_an_integer_is_found_with_or_without_separators_and_before_any_text(number: int, after: str) -> None:
    assert last_integer(f"= {number}") == number
    assert last_integer(f"= {number:,}") == number
    assert last_integer(f"= {number} {after}") == number


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    found = last_integer(text)
    assert found is None or str(abs(found)) in plain(text).replace(",", "")


def answer(completion: str, *accepted: str) -> Answer:
    return Answer(Problem("p", "?", accepted), "?", completion)


@pytest.mark.parametrize(
    ("completion", "read"),
    [
        (r"\boxed{14} since 3 < 6", "14"),
        (r"\boxed{x} or 7", None),
        ("<answer>14</answer> (from 6 and 8)", "14"),
        ("<think>8 + 6 = 14, no, 15</think>It is fourteen", None),
        ("<think>8 + 6 = 14, so", None),
        ("8 + 6 = 14</think> and 6", "6"),
    ],
)
def test_where_the_integer_is_read(completion: str, read: str | None) -> None:
    (verdict,) = LastInteger().judge([answer(completion, "14")])
    assert (verdict.answer, verdict.reward) == (read, float(read == "14"))
    assert verdict.status == ("unparsable" if read is None else "ok")


@pytest.mark.parametrize("reference", ["14", "14.", r"\boxed{14}", "8+6=<<8+6=14>>14\n#### 14", "The answer is 14."])
def test_a_worked_reference_is_read(reference: str) -> None:
    (verdict,) = LastInteger().judge([answer("8 + 6 = 14", reference)])
    assert verdict.reward == 1.0


@pytest.mark.parametrize("reference", ["3,5", "54,50", "1.234", "12 pens", "x+1"])
def test_what_is_no_integer_is_no_reference(reference: str) -> None:
    (verdict,) = LastInteger().judge([answer("35", reference)])
    assert (verdict.reward, verdict.status) == (None, "crash")


def test_a_verdict_for_each_answer_in_order() -> None:
    verdicts = LastInteger().judge(
        [answer("so 7", "7"), answer("so 8", "7"), answer("no idea", "7"), answer("1,000", "1000.0", "5")]
    )
    assert [(verdict.reward, verdict.status) for verdict in verdicts] == [
        (1.0, "ok"),
        (0.0, "ok"),
        (0.0, "unparsable"),
        (1.0, "ok"),
    ]


def test_each_of_several_accepted_answers_counts() -> None:
    assert [v.reward for v in LastInteger().judge([answer("3", "3", "4"), answer("4", "3", "4")])] == [1.0, 1.0]


def test_a_problem_without_an_integer_answer_is_reported_and_has_no_reward() -> None:
    (verdict,) = LastInteger().judge([answer("3", "x+1")])
    assert (verdict.reward, verdict.status) == (None, "crash")
    assert "problem p" in verdict.detail
    assert "x+1" in verdict.detail


def test_nothing_to_judge() -> None:
    assert LastInteger().judge([]) == ()
