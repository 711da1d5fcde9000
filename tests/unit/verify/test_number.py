"""Plain numbers are read exactly, or not at all."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.verify.number import PlainNumber, decimal_comma, number_words, plain_number
from creditree.verify.quantity import Quantity, quantities_equal, quantity


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
        ("1 234 567", Fraction(1234567)),
        ("1\u00a0234", Fraction(1234)),
        ("1'234'567", Fraction(1234567)),
        ("12,34,567", Fraction(1234567)),
        ("1.234.567", Fraction(1234567)),
        ("2^{10}", Fraction(1024)),
        ("2^-3", Fraction(1, 8)),
        ("-2^2", Fraction(-4)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("9" * 640, Fraction(int("9" * 640))),
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


def equal(one: str, other: str) -> bool:
    first, second = quantity(one), quantity(other)
    assert first is not None
    assert second is not None
    return quantities_equal(first, second)


def test_a_decimal_may_be_rounded_and_an_integer_not() -> None:
    third = Quantity(PlainNumber(Fraction(1, 3)))
    rounded, coarse = quantity("0.333333"), quantity("0.3333")
    assert rounded is not None
    assert coarse is not None
    assert quantities_equal(third, rounded)  # |1/3 - 0.333333| / (1/3) = 1e-6, and both are 0.333333 to 6 places
    assert not quantities_equal(third, coarse)
    assert rounded.number.is_decimal
    whole = plain_number("3.0")
    assert whole is not None
    assert not whole.is_decimal
    assert not equal("100000000000", "100000000001")


def test_small_decimals_are_compared_by_share_not_by_places() -> None:
    assert not equal("0.0000001", "0.0000002")


def test_a_comma_with_other_than_three_digits_behind_it_is_decimal() -> None:
    found = [decimal_comma(text) for text in ("3,5", "-0,125", "1.234,56", "20,2400", "3,500", "3,5,7", "3, 5")]
    values = [None if number is None else number.value for number in found]
    assert values == [Fraction(7, 2), Fraction(-1, 8), Fraction(30864, 25), Fraction(506, 25), None, None, None]


def test_numbers_in_words() -> None:
    found = [number_words(text) for text in ("seven", "Forty-two", "twelve two", "eleven", "sevenths", "nought")]
    assert [None if pair is None else pair[0].value for pair in found] == [7, 42, None, 11, None, None]


@given(st.integers(-(10**30), 10**30))
def test_integers_are_read_back_with_and_without_separators(number: int) -> None:
    for text in (str(number), f"{number:,}", f"{number}.0", f"\\frac{{{2 * number}}}{{2}}"):
        read = quantity(text)
        assert read is not None
        assert read.number.value == number


@given(st.text(max_size=200))
def test_any_text_can_be_asked(text: str) -> None:
    plain_number(text)
    quantity(text)
    decimal_comma(text)


def test_numbers_that_no_float_can_hold_are_compared() -> None:
    assert not equal("1e390", "2.5")
    assert not equal("1e-390", "2.5")
    assert equal("1e390", "1e390")
