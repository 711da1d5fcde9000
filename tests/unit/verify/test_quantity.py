"""Numbers with units, currencies, scales and names."""

from fractions import Fraction

import pytest

from creditree.verify.quantity import last_side, quantities_equal, quantity
from creditree.verify.units import differ, unit_of


@pytest.mark.parametrize(
    ("text", "value", "unit", "name"),
    [
        ("63 lanterns", 63, "lanterns", ""),
        ("63\\text{ square feet}", 63, "square feet", ""),
        ("63\\,\\mathrm{cm}^2", 63, "cm2", ""),
        ("63^\\circ", 63, "°", ""),
        ("63 kWh", 63, "kwh", ""),
        ("63명", 63, "명", ""),
        ("\\$6.30", Fraction(63, 10), "$", ""),
        ("63 €", 63, "€", ""),
        ("SEK 63", 63, "sek", ""),
        ("\\text{USD } 63", 63, "usd", ""),
        ("3 million people", 3_000_000, "people", ""),
        ("63 pct", Fraction(63, 100), "", ""),
        ("a_1 = 63\\text{ m}", 63, "m", "a_1"),
        ("\\approx 63", 63, "", ""),
        ("sixty-three apples", 63, "apples", ""),
        ("63\\frac{\\text{m}}{\\text{s}}", 63, "m/s", ""),
        ("6,3 kg", Fraction(63, 10), "kg", ""),
    ],
)
def test_what_is_read(text: str, value: Fraction, unit: str, name: str) -> None:
    found = quantity(text)
    assert found is not None
    assert (found.number.value, found.unit, found.name) == (value, unit, name)


@pytest.mark.parametrize(
    "text",
    ["63x", "63 x", "63i", "63\\pi", "63 or 64", "63, 64", "(6,3)", "63!", "63 squared", "63 less than x", "x > 63",
     "63 = 64", "63 \\text{ if } x", "6 feet 3 inches", "6:30", "\\pm 63", "no", "", "63 minus"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("7 pens", "7", True),
        ("7 pens", "7 pencils", True),  # neither is a known measure
        ("7 m", "700 cm", True),
        ("7 m", "7 cm", False),
        ("7 m", "7 m^2", False),
        ("\\$7", "7 €", False),
        ("90 minutes", "1.5 hours", True),
        ("x = 7", "7", True),
        ("x = 7", "y = 7", False),
        ("7%", "0.07", True),
        ("7%", "7", True),
        ("7%", "700", False),
    ],
)
def test_which_are_equal(one: str, other: str, *, equal: bool) -> None:
    first, second = quantity(one), quantity(other)
    assert first is not None
    assert second is not None
    assert quantities_equal(first, second) is quantities_equal(second, first) is equal


def test_a_chain_comes_to_its_last_side_unless_it_is_false() -> None:
    found = last_side("9 \\cdot 7 = 63")
    assert found is not None
    assert found.number.value == 63
    assert last_side("62 = 63") is None
    assert last_side("x < 7 = 63") is None


def test_units_are_told_from_variables_and_operations() -> None:
    assert all(unit_of(rest) is not None for rest in (" m", "cm", " of the cakes", "\\text{ s}", "%", " °C", "個"))
    assert all(unit_of(rest) is None for rest in ("m", " y", " plus", " mod 3", "^2", " + a", "!"))
    # A yard is 0.9144 m, an inch 0.0254 m: 36 inches.
    assert differ("yard", "inches") == 36
    assert differ("yards", "hours") is True
    assert differ("yards", "boxes") is False
