"""Plain numbers are read exactly, or not at all."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.mathematics import numbers_equal, read_number
from creditree.verify.number import PlainNumber, last_number, plain_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        ("-3.50", Fraction(-7, 2)),
        (".5", Fraction(1, 2)),
        ("1,234,567", Fraction(1234567)),
        ("1{,}234", Fraction(1234)),
        ("10,\\!080", Fraction(10080)),
        ("2/7", Fraction(2, 7)),
        ("-2 / 7", Fraction(-2, 7)),
        ("\\frac{2}{7}", Fraction(2, 7)),
        ("-\\frac27", Fraction(-2, 7)),
        ("1\\frac{4}{5}", Fraction(9, 5)),
        ("1 4/5", Fraction(9, 5)),
        ("5%", Fraction(1, 20)),
        ("5\\%", Fraction(1, 20)),
        ("1.5e3", Fraction(1500)),
        ("6.72 \\times 10^{-5}", Fraction(672, 10**7)),
        ("\\$18.90", Fraction(189, 10)),
        ("−7", Fraction(-7)),
    ],
)
def test_how_a_number_is_written(text: str, value: Fraction) -> None:
    number = plain_number(text)
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "1,23",
        "1,2345",
        "1.2.3",
        "1/0",
        "\\frac{1}{0}",
        "--5",
        "5x",
        "1e999",
        "9" * 1400,
        "٣",
        "0x10",
        "1_0",
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert plain_number(text) is None


def test_a_decimal_may_be_rounded_and_an_integer_not() -> None:
    third, rounded = PlainNumber(Fraction(1, 3)), plain_number("0.333333")
    assert rounded is not None
    assert rounded.is_decimal
    assert numbers_equal(third, rounded)  # |1/3 - 0.333333| / (1/3) = 1e-6, and both are 0.333333 to 6 places
    coarse = plain_number("0.3333")
    assert coarse is not None
    assert not numbers_equal(third, coarse)
    whole = plain_number("3.0")
    assert whole is not None
    assert not whole.is_decimal
    large, larger = plain_number("100000000000"), plain_number("100000000001")
    assert large is not None
    assert larger is not None
    assert not numbers_equal(large, larger)


def test_small_decimals_are_compared_by_share_not_by_places() -> None:
    one, two = plain_number("0.0000001"), plain_number("0.0000002")
    assert one is not None
    assert two is not None
    assert not numbers_equal(one, two)


@given(st.integers(-(10**30), 10**30))
def test_integers_are_read_back_with_and_without_separators(number: int) -> None:
    for text in (str(number), f"{number:,}", f"{number}.0", f"\\frac{{{2 * number}}}{{2}}"):
        read = read_number(text)
        assert read is not None
        assert read.value == number


@given(st.text(max_size=200))
def test_any_text_can_be_asked(text: str) -> None:
    plain_number(text)
    last_number(text)
    read_number(text)


def test_the_last_number_of_a_sentence() -> None:
    found = [last_number(text) for text in ("3 cats, 4 dogs.", "from 10-5", "$1,200.50!", "no", "version v2")]
    assert [None if number is None else number.value for number in found] == [4, 5, Fraction(2401, 2), None, None]


def test_numbers_that_no_float_can_hold_are_compared() -> None:
    large, decimal, small = plain_number("1e390"), plain_number("2.5"), plain_number("1e-390")
    assert large is not None
    assert decimal is not None
    assert small is not None
    assert not numbers_equal(large, decimal)
    assert not numbers_equal(small, decimal)
    assert numbers_equal(large, large)
