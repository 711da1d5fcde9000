"""A branch whose verdict failed, with judged completions that go through its first tokens."""

import numpy as np
import pytest

from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.rng import Key
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.everything import Everything
from creditree.tree import RolloutTree
from tests.forests import assigned, branch, root


@pytest.fixture
def tree() -> RolloutTree:
    """Return 0: 10 11 12, failed; 1: 10 11 20, reward 1; 2: 30, reward 0."""
    return root().grown(branch([10, 11, 12], None), branch([20], 1.0, 0, 2), branch([30], 0.0))


def test_gains_along_the_judged_child_sum_to_its_reward_minus_the_mean(tree: RolloutTree) -> None:
    """V(root) = .5 and V(10) = 1, so the first token gains .5 and those after it nothing."""
    field = PrefixGain().assign(tree)
    assert assigned(field[0]).tolist() == [0.5, 0.0, 0.0]
    assert assigned(field[1]).tolist() == [0.0]
    assert assigned(field[2]).tolist() == [-0.5]


def test_group_relative_gives_the_shared_tokens_the_childs_advantage(tree: RolloutTree) -> None:
    field = GroupRelative(std=False).assign(tree)
    assert assigned(field[0]).tolist() == [0.5, 0.5, 0.0]
    assert assigned(field[1]).tolist() == [0.5]


def test_weights_sum_to_one_and_none_falls_on_the_failed_tail(tree: RolloutTree) -> None:
    """Two judged completions of 3 and 1 tokens: 1/6 for each token of the first, 1/2 for that of the second."""
    ((first, second, third),) = Everything().weigh((tree,), (PrefixGain().assign(tree),), Key.of(0))
    assert assigned(first).tolist() == pytest.approx([1 / 6, 1 / 6, 0.0])
    assert assigned(second).tolist() == pytest.approx([1 / 6])
    assert assigned(third).tolist() == [0.5]


def test_both_pairs_at_the_root_are_counted(tree: RolloutTree) -> None:
    (weights,) = BranchingPairs().weigh((tree,), (PrefixGain().assign(tree),), Key.of(0))
    assert np.concatenate([assigned(field) for field in weights]).tolist() == [0.5, 0.0, 0.0, 0.0, 0.5]
