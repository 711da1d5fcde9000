"""How large a gain a test can see: one case by hand, laws, and the project's own exact test on seeded draws."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.evaluate.power import detectable_gain, problems_needed
from creditree.evaluate.statistics import paired_difference


def test_problems_needed_by_hand() -> None:
    # z = 1.959964 and 0.841621; psi = 0.3, d = 0.1: 1.959964 sqrt(0.3) = 1.073517, 0.841621 sqrt(0.29) = 0.453225;
    # (1.526742)^2 / 0.01 = 233.09.
    assert problems_needed(0.1, 0.3) == pytest.approx(233.09, abs=0.01)
    # All of what changes is gain: psi = d = 0.2, so 1.959964 sqrt(0.2) + 0.841621 sqrt(0.16) = 0.876522 + 0.336648;
    # squared and over 0.04: 36.79. Less than the gain cannot change.
    assert problems_needed(0.2, 0.2) == problems_needed(0.2, 0.0) == pytest.approx(36.79, abs=0.01)
    # At a level of 10 % and 90 % power z are 1.644854 and 1.281552.
    expected = (1.644854 * sqrt(0.3) + 1.281552 * sqrt(0.29)) ** 2 / 0.01
    assert problems_needed(0.1, 0.3, 0.1, 0.9) == pytest.approx(expected, rel=1e-5)


@given(n=st.integers(5, 5000), flips=st.floats(0, 1))
def test_the_detectable_gain_is_the_inverse(n: int, flips: float) -> None:
    gain = detectable_gain(n, flips)
    assert gain is not None
    assert 0 < gain <= 1
    assert problems_needed(gain, min(1.0, flips + gain)) <= n
    if gain > 1e-5:
        smaller = gain - 2e-6
        assert problems_needed(smaller, min(1.0, flips + smaller)) > n


@given(n=st.integers(5, 5000), more=st.integers(1, 5000), flips=st.floats(0, 1), other=st.floats(0, 1))
def test_more_problems_and_fewer_flips_see_smaller_gains(n: int, more: int, flips: float, other: float) -> None:
    one, wider = detectable_gain(n, flips), detectable_gain(n + more, flips)
    calm, wild = (detectable_gain(n, value) for value in sorted((flips, other)))
    assert None not in (one, wider, calm, wild)
    assert wider <= one  # type: ignore[operator]
    assert calm <= wild + 1e-6  # type: ignore[operator]


def test_where_not_even_everything_is_found() -> None:
    # A gain of 1 needs z^2 = 1.959964^2 = 3.84 problems.
    assert [detectable_gain(n, 0.2) for n in (1, 2, 3)] == [None, None, None]
    assert detectable_gain(4, 0.2) is not None


@pytest.mark.parametrize("arguments", [(0.0, 0.3), (1.1, 0.3), (0.1, -0.1), (0.1, 1.1)])
def test_what_are_no_shares_is_refused(arguments: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="none of shares"):
        problems_needed(*arguments)


@pytest.mark.parametrize("arguments", [(0, 0.3), (10, -0.1), (10, 1.1)])
def test_what_is_no_test_is_refused(arguments: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="need at least one, and a share"):
        detectable_gain(*arguments)


@pytest.mark.parametrize(("n", "flips"), [(100, 0.2), (200, 0.3), (400, 0.1), (400, 0.4)])
def test_the_exact_test_finds_it_in_about_four_of_five_cases(n: int, flips: float) -> None:
    """The formula is of the asymptotic test; the exact one is a little more careful. 600 tests: 3 se are 0.05."""
    gain = detectable_gain(n, flips)
    assert gain is not None
    psi = flips + gain
    rng = np.random.default_rng(20)
    change = rng.choice([1, -1, 0], size=(600, n), p=[(psi + gain) / 2, (psi - gain) / 2, 1 - psi])
    found = np.mean(
        [paired_difference((row == -1).astype(int), (row == 1).astype(int)).p_value < 0.05 for row in change]
    )
    assert 0.70 < found < 0.88
