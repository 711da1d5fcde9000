"""Numbers with something around them, and what a model would answer instead."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.pilot.plausible import decimal_comma, has_formula, number_alone, numbers_in


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("31 tents", "31"),
        ("1,200 tents", "1,200"),
        ("2.5 kg", "2.5"),
        ("31 個", "31"),
        ("31個", "31"),
        ("$31", "31"),
        ("31 €", "31"),
        ("EUR 31", "31"),
        ("31 %", "31"),
        ("x = 31", "31"),
        ("-4 °C", "-4"),
        ("３１", "31"),
        ("٣١", "31"),
        ("\u20134", "-4"),
        ("31,50", "31.50"),
        ("1.231,5 m", "1231.5"),
        ("0,125", "0.125"),
        ("31 tents.", "31"),
        ("31", None),
        ("-31", None),
        ("31.", None),
        ("Room 31", None),
        ("31 of 60", None),
        ("31st", "31"),
        ("x + 31", None),
        ("31x^2", None),
        (r"31\sqrt{2}", None),
        ("3, 5", None),
        ("red", None),
        ("", None),
    ],
)
def test_the_number_alone(answer: str, number: str | None) -> None:
    assert number_alone(answer) == number


@pytest.mark.parametrize("answer", ["54,50", "3,5", "0,125", "1.234,56", "54,50 €", "-3,5", "7,12345"])
def test_a_decimal_comma(answer: str) -> None:
    assert decimal_comma(answer)


@pytest.mark.parametrize(
    "answer", ["1,234", "1,234,567", "3, 5", "(3,5)", "[0,1]", "3.5", "54", "a,b", "1,2,3", "12,345.67"]
)
def test_no_decimal_comma(answer: str) -> None:
    assert not decimal_comma(answer)


def test_numbers_in_a_text_are_in_order() -> None:
    assert numbers_in("3 cats, 1,200 dogs; -2.5, so 7.") == [3, 1200, Fraction(-5, 2), 7]
    assert numbers_in("10-4 = 6, and \u20134") == [10, 4, 6, -4]
    assert numbers_in("共有42个") == [42]
    assert numbers_in("x2 and B12") == []


def test_signs_of_a_formula() -> None:
    assert all(map(has_formula, ("5", r"\pi", "x^2", "５")))
    assert not any(map(has_formula, ("red", "")))


@given(st.text(max_size=40))
def test_no_text_makes_them_raise(text: str) -> None:
    decimal_comma(text)
    numbers_in(text)
    assert number_alone(text) != text
