"""Which completions are expanded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.explore import plan_expansion
from creditree.explore.expansion import num_expanded
from creditree.rng import Key
from tests.forests import KEY


def test_golden_counts_of_six() -> None:
    # 6 exp(-c/6) = 6, 5.079, 4.299, 3.639, 3.081, 2.608, 2.207.
    assert [num_expanded(c, 6) for c in range(7)] == [6, 6, 5, 4, 4, 3, 3]
    assert [num_expanded(c, 6, "round") for c in range(7)] == [6, 5, 4, 4, 3, 3, 2]


def test_none_correct_expands_all() -> None:
    assert plan_expansion([False] * 6, KEY) == (0, 1, 2, 3, 4, 5)
    assert plan_expansion([], KEY) == ()


def test_all_correct_expands_the_first_or_random_ones() -> None:
    assert plan_expansion([True] * 6, KEY) == (0, 1, 2)
    assert plan_expansion([True] * 6, KEY, rounding="round") == (0, 1)
    drawn = {plan_expansion([True] * 6, Key.of(seed), of_all_correct="random") for seed in range(40)}
    assert all(len(set(plan)) == 3 for plan in drawn)
    assert len(drawn) > 10


def test_golden_minority_first() -> None:
    # 2 of 6 correct: M = 5, both correct ones and 3 of 4 wrong ones. 4 of 6: M = 4, both wrong and 2 of 4 correct.
    few = plan_expansion([False, True, False, False, True, False], KEY)
    assert len(few) == 5
    assert {1, 4} <= set(few)
    many = plan_expansion([True, False, True, True, False, True], KEY)
    assert len(many) == 4
    assert {1, 4} <= set(many)


def test_at_one_half_the_wrong_ones_come_first() -> None:
    # 1 of 2 correct: M = round(1.21) = 1.
    assert plan_expansion([True, False], KEY, rounding="round") == (1,)


@given(
    st.lists(st.booleans(), min_size=1, max_size=20),
    st.sampled_from(["ceil", "round"]),
    st.sampled_from(["first", "random"]),
    st.integers(0, 99),
)
def test_the_whole_minority_and_as_many_as_planned(
    correct: list[bool], rounding: str, of_all_correct: str, seed: int
) -> None:
    plan = plan_expansion(correct, Key.of(seed), rounding=rounding, of_all_correct=of_all_correct)  # type: ignore[arg-type]
    assert list(plan) == sorted(set(plan))
    assert set(plan) <= set(range(len(correct)))
    assert len(plan) == num_expanded(sum(correct), len(correct), rounding)  # type: ignore[arg-type]
    rare = sum(correct) * 2 < len(correct)
    assert {i for i, right in enumerate(correct) if right == rare} <= set(plan)


@pytest.mark.parametrize("seed", range(3))
def test_a_plan_is_a_function_of_its_key(seed: int) -> None:
    correct = [True, False, True, True, True, True, True, True]
    assert plan_expansion(correct, Key.of(seed)) == plan_expansion(correct, Key.of(seed))
    assert len({plan_expansion(correct, Key.of(seed)) for seed in range(20)}) > 5
