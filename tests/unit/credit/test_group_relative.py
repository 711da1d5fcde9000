"""Group-relative advantages against arithmetic by hand, against torch, and on trees with shared spans."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.group_relative import GroupRelative
from creditree.tree import RolloutTree
from tests.forests import assigned, branch, flat, grown_trees, plain_completion, root


def test_golden_with_std() -> None:
    # R = 1 0 0 1 1: mean 3/5; squared deviations 3 (2/5)^2 + 2 (3/5)^2 = 12/25 + 18/25 = 6/5; unbiased variance 6/5/4 =
    # 3/10, std 0.5477225575. A(1) = 0.4/(0.5477225575 + 0.0001) = 0.7301634085, A(0) = -1.5 times that.
    advantages = GroupRelative().of_rewards(np.array([1.0, 0.0, 0.0, 1.0, 1.0]))
    assert advantages == pytest.approx([0.7301634, -1.0952451, -1.0952451, 0.7301634, 0.7301634], abs=1e-7)


def test_golden_without_std() -> None:
    # R = 1 0 0 1 1: mean 3/5.
    advantages = GroupRelative(std=False).of_rewards(np.array([1.0, 0.0, 0.0, 1.0, 1.0]))
    assert advantages == pytest.approx([0.4, -0.6, -0.6, 0.4, 0.4], abs=1e-15)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=20), st.booleans())
def test_equals_torch(rewards: list[float], std: bool) -> None:
    r = torch.tensor(rewards, dtype=torch.float64)
    expected = (r - r.mean()) / (r.std() + 1e-4) if std else r - r.mean()
    assert np.allclose(GroupRelative(std=std).of_rewards(np.array(rewards)), expected.numpy(), atol=1e-9)


@pytest.mark.parametrize("std", [True, False])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_rewards_give_zero_to_the_bit(std: bool, value: float) -> None:
    # The mean of seven times 0.1 is not 0.1 in binary, so the formula alone would leave a rest.
    assert GroupRelative(std=std).of_rewards(np.full(7, value)).tolist() == [0.0] * 7


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare_gives_zero(count: int) -> None:
    assert GroupRelative().of_rewards(np.ones(count)).tolist() == [0.0] * count


def test_every_token_of_a_completion_has_its_advantage() -> None:
    # Mean 1/2.
    field = GroupRelative(std=False).assign(flat([[2, 3, 1], [4, 1]], [1.0, 0.0]))
    assert [assigned(values).tolist() for values in field] == [[0.5] * 3, [-0.5] * 2]


def test_failed_verdicts_are_left_out_of_mean_and_field() -> None:
    field = GroupRelative(std=False).assign(flat([[2, 1], [3, 1], [4, 1]], [1.0, None, 0.0]))
    assert assigned(field[0]).tolist() == [0.5, 0.5]
    assert field[1] is None
    assert assigned(field[2]).tolist() == [-0.5, -0.5]


def test_a_shared_span_has_the_mean_of_its_completions() -> None:
    # 0: 2 3 1 (R 1); 1: its first token, then 4 1 (R 1/2); 2: alone (R 0). Mean 1/2: A = 1/2, 0, -1/2.
    tree = root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.5, 0, 1), branch([4, 1], 0.0))
    field = GroupRelative(std=False).assign(tree)
    assert assigned(field[0]).tolist() == [0.25, 0.5, 0.5]
    assert assigned(field[1]).tolist() == [0.0, 0.0]
    assert assigned(field[2]).tolist() == [-0.5, -0.5]


@given(grown_trees())
def test_each_token_has_the_mean_over_the_completions_that_hold_it(tree: RolloutTree) -> None:
    rewards = tree.rewards(tree.leaves)
    central = rewards - rewards.mean()
    field = GroupRelative(std=False).assign(tree)
    holders: dict[tuple[int, int], list[float]] = {}
    for leaf in tree.leaves:
        for index, at, _ in plain_completion(tree, leaf):
            holders.setdefault((index, at), []).append(central[leaf])
    for (index, at), values in holders.items():
        assert assigned(field[index])[at] == pytest.approx(np.mean(values), abs=1e-12)
