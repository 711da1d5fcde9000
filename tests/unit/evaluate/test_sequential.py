"""The sequential test: golden numbers, the exact guarantee on small cases, and seeded simulations of whole lives."""

from collections.abc import Sequence
from itertools import permutations, product
from math import comb, log, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.evaluate.sequential import FRACTIONS, RESERVE, DropTest, Evidence, clopper_pearson_lower
from creditree.rng import Key
from tests.each_once import each_once

SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30)


def plain(q: float, values: list[float]) -> float:
    """E_n as the formula has it, one product a bet."""
    bets = [fraction / (1 - q) for fraction in FRACTIONS]
    return sum(prod(1 + bet * (q - x) for x in values) for bet in bets) / len(bets)


def draws(key: Key, accuracy: float, count: int) -> Any:
    """0/1 with a known accuracy."""
    return (key.uniforms(count) < accuracy).astype(float)


def test_the_evidence_of_three_observations() -> None:
    # q = 0.5 and fractions 0.5, 0.25 make lambda = 1 and 0.5. Wrong: factors 1.5 and 1.25; right: 0.5 and 0.75; a half:
    # 1 and 1. After wrong, wrong, right: (1.5 * 1.5 * 0.5 + 1.25 * 1.25 * 0.75) / 2 = (1.125 + 1.171875) / 2.
    begun = Evidence.begin(0.5, 1.9, (0.5, 0.25))
    found = begun.after([0, 0, 1])
    assert found.e_value == pytest.approx(1.1484375)
    # The largest is after two: (2.25 + 1.5625) / 2 = 1.90625, which reaches 1.9; 1 / 1.9 + 1 / 1.90625 > 1.
    assert (found.n, found.alarm_at, found.p_value) == (3, 2, 1.0)
    assert begun.after([0, 0, 0.5, 0]).p_value == pytest.approx(1 / 1.9 + 2 / (1.5**3 + 1.25**3))
    assert begun.after([0, 0.5, 1]).alarm_at is None
    # The p-value keeps the largest evidence, (1.5^4 + 1.25^4) / 2 = 3.752, and the alarm its place, in later calls too.
    later = begun.after([0] * 4).after([1] * 3)
    assert later.p_value == pytest.approx(1 / 1.9 + 2 / (1.5**4 + 1.25**4))
    assert (later.n, later.alarm_at) == (7, 2)


@given(values=SHARES, q=st.floats(0.05, 0.95), cut=st.integers(0, 30))
def test_it_is_the_formula_whatever_the_pieces_and_the_order(values: list[float], q: float, cut: int) -> None:
    begun = Evidence.begin(q, 40)
    whole = begun.after(values)
    assert whole.e_value == pytest.approx(plain(q, values), rel=1e-9)
    assert begun.after(values[::-1]).e_value == pytest.approx(whole.e_value, rel=1e-9)
    parts = begun.after(values[:cut]).after(values[cut:])
    assert (parts.n, parts.alarm_at) == (whole.n, whole.alarm_at)
    assert parts.e_value == pytest.approx(whole.e_value, rel=1e-9)
    assert parts.p_value == pytest.approx(whole.p_value, rel=1e-9)
    peaks = [plain(q, values[:stop]) for stop in range(1, len(values) + 1)]
    assert whole.p_value == pytest.approx(min(1, 1 / 40 + 1 / max(1, *peaks)), rel=1e-9)
    assert (whole.alarm_at is not None) == (whole.p_value <= 2 / 40)


def test_every_order_gives_the_same_evidence() -> None:
    found = {round(Evidence.begin(0.7, 40).after(order).e_value, 12) for order in permutations([0, 0, 1, 0.5])}
    assert len(found) == 1


def in_calls(begun: Evidence, calls: Sequence[Sequence[float]]) -> Evidence:
    """The evidence after several calls."""
    for number, values in enumerate(calls):
        begun = (begun.next_call() if number else begun).after(values)
    return begun


def test_gamblers_that_begin_with_later_calls_by_hand() -> None:
    # q = 0.5 and f = 0.5: a wrong answer is worth 1.5, a right one 0.5. Reserve 0.5. Calls (1, 1), (0), (0, 0):
    # M_1 = 0.5^2 1.5^3, M_2 = 1.5^3, M_3 = 1.5^2; weights 0.5, 0.5 / 2, 0.5 / 6, and 0.5 / 3 for those to come.
    found = in_calls(Evidence.begin(0.5, 1.9, (0.5,), 0.5), ([1, 1], [0], [0, 0]))
    by_hand = 0.5 * 0.25 * 3.375 + 0.25 * 3.375 + 2.25 / 12 + 0.5 / 3
    assert found.e_value == pytest.approx(by_hand)
    assert found.next_call().e_value == pytest.approx(by_hand)
    # A lone gambler has 0.25 * 3.375 = 0.84 here, and saw nothing.
    assert in_calls(Evidence.begin(0.5, 1.9, (0.5,)), ([1, 1], [0], [0, 0])).e_value == pytest.approx(0.84375)


@given(
    calls=st.lists(SHARES, min_size=1, max_size=6), q=st.floats(0.05, 0.95), reserve=st.floats(0.01, 0.99)
)  # fmt: skip
def test_calls_are_the_formula(calls: list[list[float]], q: float, reserve: float) -> None:
    found = in_calls(Evidence.begin(q, 40, FRACTIONS, reserve), calls)
    starts = range(1, len(calls) + 1)
    weights = [1 - reserve if c == 1 else reserve / (c * (c - 1)) for c in starts]
    wealth = [plain(q, [x for values in calls[c - 1 :] for x in values]) for c in starts]
    rest = reserve / len(calls)
    assert sum(weights) + rest == pytest.approx(1)
    expected = sum(w * m for w, m in zip(weights, wealth, strict=True)) + rest
    assert found.e_value == pytest.approx(expected, rel=1e-9)


@given(
    q=st.floats(0.1, 0.9),
    least=st.floats(1.2, 30),
    better=st.floats(0, 1),
    cuts=st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
def test_the_guarantee_holds_exactly(q: float, least: float, better: float, cuts: tuple[int, int]) -> None:
    """All 2^8 courses of eight problems with their chances: nobody expects to win, few ever reach the threshold."""
    accuracy = q + better * (1 - q)
    expected, alarmed = 0.0, 0.0
    first, second = sorted(cuts)
    for course in product([0.0, 1.0], repeat=8):
        begun = Evidence.begin(q, least, FRACTIONS, RESERVE)
        found = in_calls(begun, (course[:first], course[first:second], course[second:]))
        chance = prod(accuracy if x else 1 - accuracy for x in course)
        expected += chance * found.e_value
        alarmed += chance * (found.alarm_at is not None)
    assert expected <= 1 + 1e-9
    assert alarmed <= 1 / least + 1e-9
    if better == 0:
        assert expected == pytest.approx(1)


@pytest.mark.parametrize(("accuracy", "n", "margin"), [(0.7, 500, 0.0), (0.7, 500, 0.05), (0.3, 100, 0.0)])
def test_false_alarms_are_rarer_than_alpha_with_a_look_after_every_problem(
    accuracy: float, n: int, margin: float
) -> None:
    """300 baselines, each followed by 600 fresh problems that are exactly as hard as is tolerated."""
    alarms = 0
    for life in range(300):
        key = Key.of(11).at(str(accuracy), str(margin), life)
        test = DropTest(int(draws(key.at("baseline"), accuracy, n).sum()), n, margin, 0.2)
        fresh = draws(key.at("fresh"), accuracy - margin, 600)
        alarms += test.begin().after(fresh).alarm_at is not None
    assert alarms / 300 <= 0.2


def test_the_level_is_used_and_not_exceeded_where_the_baseline_is_known() -> None:
    """At q itself, alpha = 0.1: some false alarms, so the test is not idle, and no more than allowed."""
    found = [
        Evidence.begin(0.7, 10).after(draws(Key.of(3).at("known", life), 0.7, 1000)).alarm_at for life in range(600)
    ]
    share = sum(one is not None for one in found) / 600
    # Three standard errors of a share of 0.1 at 600 are 3 sqrt(0.1 * 0.9 / 600) = 0.037.
    assert 0.03 < share < 0.1 + 0.037


@pytest.mark.parametrize(("drop", "good"), each_once([0.1, 0.3, 0.2], [0, 200]))
def test_a_drop_is_found_within_the_number_of_problems_that_is_promised(drop: float, good: int) -> None:
    """The drop begins with a call; the problems after it are all of that call."""
    begun = DropTest(400, 500).begin().after([0.0 if number % 5 == 4 else 1.0 for number in range(good)]).next_call()
    promised = begun.problems_to_detect(0.8 - drop)
    assert promised is not None
    found = [begun.after(draws(Key.of(5).at(str(drop), good, life), 0.8 - drop, 5000)).alarm_at for life in range(100)]
    waited = [one - good for one in found if one is not None]
    assert len(waited) == 100
    assert promised / 2 < np.mean(waited) <= promised


def test_problems_to_detect_by_hand() -> None:
    # One bet f = 0.5 at q = 0.5, accuracy 0: growth log 1.5 = 0.4055; (log 40 + log 1.5) / 0.4055 = 4.0943 / 0.4055 =
    # 10.1.
    one = Evidence.begin(0.5, 40, (0.5,))
    assert one.problems_to_detect(0.0) == 11
    # After one wrong answer the product is 1.5 already: 3.6889 / 0.4055 = 9.1.
    assert one.after([0]).problems_to_detect(0.0) == 10
    # Accuracy 0.4: 0.4 log 0.5 + 0.6 log 1.5 = -0.0340: this bet loses.
    assert one.problems_to_detect(0.4) is None
    assert Evidence.begin(0.5, 40).problems_to_detect(0.5) is None
    assert one.after([0] * 20).problems_to_detect(0.4) == 0
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        one.problems_to_detect(1.1)
    # After five right answers the first gambler, of weight 0.5, has 0.5^5: worth log 0.5 - 5 log 2 = -4.16. The one of
    # the next call, of weight 0.25, begins with log 0.25 = -1.39: (3.6889 + 1.3863 + 0.4055) / 0.4055 = 13.5.
    two = Evidence.begin(0.5, 40, (0.5,), 0.5).after([1] * 5)
    assert two.problems_to_detect(0.0) == 14


@given(q=st.floats(0.05, 0.97), relative=st.floats(0.03, 0.97))
def test_the_grid_loses_at_most_11_percent_of_the_best_rate(q: float, relative: float) -> None:
    """The best bet on accuracy (1 - relative) q grows at KL; the nearest of the grid is not much slower."""
    accuracy = (1 - relative) * q
    best = accuracy * log(accuracy / q) + (1 - accuracy) * log((1 - accuracy) / (1 - q))
    grown = [accuracy * log(1 - f) + (1 - accuracy) * log(1 + f * q / (1 - q)) for f in FRACTIONS]
    assert 0.89 * best <= max(grown) <= best + 1e-12


@given(n=st.integers(1, 200), share=st.floats(0, 1), level=st.floats(0.001, 0.3))
def test_the_lower_bound_by_binomial_tails(n: int, share: float, level: float) -> None:
    successes = round(share * n)
    bound = clopper_pearson_lower(successes, n, level)
    if successes == 0:
        assert bound == 0
        return
    tail = sum(comb(n, k) * bound**k * (1 - bound) ** (n - k) for k in range(successes, n + 1))
    assert tail == pytest.approx(level, rel=1e-6)
    assert 0 < bound < successes / n


def test_the_lower_bound_of_a_perfect_baseline() -> None:
    # All n right: p^n = level, so p = 0.025^(1/20) = exp(-3.6889 / 20) = 0.8316.
    assert clopper_pearson_lower(20, 20, 0.025) == pytest.approx(0.8316, abs=5e-5)
    assert DropTest(20, 20, 0.05, 0.05).tolerated == pytest.approx(0.7816, abs=5e-5)
    assert DropTest(20, 20).threshold == 40


def test_what_makes_no_test_is_refused() -> None:
    for arguments in ((21, 20, 0.1), (0, 0, 0.1), (1, 2, 0.0)):
        with pytest.raises(ValueError, match="give no bound"):
            clopper_pearson_lower(*arguments)
    with pytest.raises(ValueError, match="make no test"):
        DropTest(0, 20).begin()
    with pytest.raises(ValueError, match="make no test"):
        Evidence.begin(0.5, 40, (1.0,))
    with pytest.raises(ValueError, match="outside"):
        Evidence.begin(0.5, 40).after([1.5])
