"""How the time is divided: the shares add up at any pace, and what is given up first where it is short."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.pilot.timeline import (
    EVALUATION_SHARE,
    LEAST_STEPS,
    LEAST_TEST,
    RESERVE_SHARE,
    TRIALS_SHARE,
    Pace,
    Timeline,
    divide,
    validations,
)

PACES = st.builds(
    Pace,
    completion_s=st.floats(1e-4, 10),
    single_s=st.floats(1e-4, 10),
    test=st.integers(12, 400),
    validation=st.integers(6, 100),
    guard=st.integers(0, 200),
    load_s=st.floats(0, 100),
)


def test_seconds_by_hand() -> None:
    # A step: 1.5 * 0.1 * 8 * 2 = 2.4 s. Measuring 50 problems once: 0.2 * 50 = 10 s.
    pace = Pace(0.1, 0.2, 100, 50)
    assert pace.step_s(8, 2) == pytest.approx(2.4)
    assert pace.measuring_s(50) == pytest.approx(10)


def test_an_hour_by_hand() -> None:
    # Both models at two decodings on 100 + 20 problems: 2 * 0.2 * (200 + 20) = 88 s of 1000. Rest 950 - 88 = 862.
    # A step of 4 problems takes 1.5 * 0.1 * 8 * 4 = 4.8 s, 40 of them 192 s: they fit into 0.7 * 862. Trials:
    # 0.3 * 862 = 258.6, a quarter is 64.65, less 2 * 10 s of validation 44.65, below 10 steps of 4.8 s; of two:
    # 129.3 - 20 = 109.3.
    found = divide(1000, Pace(0.1, 0.2, 100, 50, 20), 8, 4)
    assert (found.test, found.decodings, found.trials, found.problems_per_step) == (100, 2, 2, 4)
    assert found.evaluation_s == pytest.approx(88)
    assert found.trial_s == pytest.approx(109.3)
    assert found.training_s == pytest.approx(862 - 258.6)


@given(left=st.floats(1, 1e5), pace=PACES, group=st.sampled_from([4, 8, 16]), settings=st.integers(1, 6))
def test_the_shares_add_up_to_the_time_that_is_left(left: float, pace: Pace, group: int, settings: int) -> None:
    found = divide(left, pace, group, settings)
    usable = (1 - RESERVE_SHARE) * left - pace.load_s
    tried = found.trials * (found.trial_s + 2 * pace.measuring_s(pace.validation) + pace.load_s)
    if found.evaluation_s <= usable:
        assert found.evaluation_s + tried + found.training_s == pytest.approx(usable)
    else:
        assert (tried, found.training_s) == (0, 0)
    # What is measured costs what is set aside for it, within its share unless nothing is left to give up.
    measured = 2 * pace.single_s * (found.decodings * found.test + pace.guard)
    assert found.evaluation_s == pytest.approx(measured)
    least = min(pace.test, LEAST_TEST)
    assert least <= found.test <= pace.test
    if found.test > least or found.decodings == 2:
        assert found.evaluation_s <= EVALUATION_SHARE * left * (1 + 1e-9)
    assert found.decodings == 1 or found.test == pace.test
    assert found.trials in (0, 2, settings)
    if found.trials:
        assert tried == pytest.approx(TRIALS_SHARE * max(0, usable - found.evaluation_s))
        assert found.trial_s >= LEAST_STEPS * pace.step_s(group, found.problems_per_step)


def test_what_is_given_up_in_order() -> None:
    """The same work in less and less time: no line has more of anything than the one before it."""
    pace = Pace(0.05, 0.2, 200, 30, 50)
    found = [divide(left, pace, 8, 4) for left in (3000, 400, 260, 200, 150, 60)]
    assert [(one.decodings, one.test, one.trials) for one in found] == [
        (2, 200, 4),
        # 2 * 0.2 * (400 + 50) = 180 s are above 160: one decoding, 100 s. Trials: 0.3 * 280 / 4 = 21 - 12 = 9 s are
        # below 10 steps of 4 problems at 2.4 s; of two 42 - 12 = 30 s are not.
        (1, 200, 2),
        # 100 s are within 104. 0.3 * (247 - 100) / 2 = 22.05 - 12 = 10.05 s: steps of 2 problems take 1.2 s, so none.
        (1, 200, 0),
        # 80 s are 0.8 of 100: 0.8 * 250 - 50 = 150 problems.
        (1, 150, 0),
        # 60 s are 0.6: 0.6 * 250 - 50 = 100.
        (1, 100, 0),
        # 24 s: 0.24 * 250 - 50 = 10, but no fewer than 30: 2 * 0.2 * 80 = 32 s.
        (1, 30, 0),
    ]
    for more, less in pairwise(found):
        assert more.training_s > less.training_s
    assert found[-1].evaluation_s == pytest.approx(32)
    assert found[-1].training_s == pytest.approx(57 - 32)


def test_fewer_problems_a_step_where_training_would_be_short() -> None:
    pace = Pace(0.1, 0.0, 50, 10)
    # One problem's step takes 1.5 * 0.1 * 8 = 1.2 s: 40 steps of four take 192 s, of two 96 s, in 0.7 of 0.95.
    seconds = [left / 0.7 / 0.95 for left in (193, 191, 97, 95)]
    assert [divide(left, pace, 8, 4).problems_per_step for left in seconds] == [4, 2, 2, 1]


def test_no_time_at_all() -> None:
    found = divide(0.0, Pace(0.1, 0.1, 100, 20), 8, 4)
    # Of 30 problems at least, on both sides: 2 * 0.1 * 30 = 6 s, though there are none.
    assert found == Timeline(30, 1, 0.2 * 30, 0, 0.0, 1, 0.0)


def test_validations_take_15_percent_at_most() -> None:
    # One takes 0.2 * 50 = 10 s: of 400 s 15 % are 60 s, 6 times; of 800 s 12 times, but at most 8; of 60 s none.
    pace = Pace(0.1, 0.2, 100, 50)
    assert [validations(seconds, pace) for seconds in (400, 800, 60)] == [6, 8, 0]
    assert validations(100, Pace(0.1, 0.2, 100, 0)) == 0
