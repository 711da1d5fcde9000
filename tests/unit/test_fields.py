"""Token fields: what is assigned, whether there is signal, and scattering along a completion."""

import numpy as np
import pytest

from creditree.fields import TokenField, has_signal, num_trained, same_assigned, scatter, trained_leaves, unassigned
from creditree.tree import RolloutTree
from tests.forests import assigned, branch, flat, root


@pytest.fixture
def forked() -> RolloutTree:
    """Return 0: 10 11 12 and 1: 20 21 after its first two tokens, and 2 whose verdict failed."""
    return root().grown(branch([10, 11, 12]), branch([20, 21], 1.0, 0, 2), branch([30], None))


def test_unassigned_has_zeros_where_there_is_a_reward(forked: RolloutTree) -> None:
    field = unassigned(forked)
    assert [None if values is None else values.tolist() for values in field] == [[0.0] * 3, [0.0] * 2, None]


def test_leaves_without_a_reward_or_an_advantage_are_not_trained_on(forked: RolloutTree) -> None:
    """Of three completions one has no reward; where the credit leaves out the first too, one is left."""
    first, second, third = unassigned(forked)
    assert trained_leaves(forked, (first, second, third)) == (0, 1)
    assert trained_leaves(forked, (None, second, third)) == (1,)
    assert num_trained((forked, forked), ((first, second, None), (None, second, None))) == 3


def test_a_field_of_zeros_is_assigned_where_another_is(forked: RolloutTree) -> None:
    field = same_assigned((np.ones(3), None, np.ones(1)))
    assert [None if values is None else values.tolist() for values in field] == [[0.0] * 3, None, [0.0]]


def test_scatter_writes_along_the_path(forked: RolloutTree) -> None:
    field = unassigned(forked)
    scatter(forked, 1, np.array([1.0, 2.0, 3.0, 4.0]), field, add=False)
    assert assigned(field[0]).tolist() == [1.0, 2.0, 0.0]
    assert assigned(field[1]).tolist() == [3.0, 4.0]


def test_scatter_adds_or_overwrites(forked: RolloutTree) -> None:
    field = unassigned(forked)
    for _ in range(2):
        scatter(forked, 1, np.ones(4), field, add=True)
    scatter(forked, 0, np.full(3, 5.0), field, add=True)
    assert assigned(field[0]).tolist() == [7.0, 7.0, 5.0]
    scatter(forked, 0, np.full(3, 5.0), field, add=False)
    assert assigned(field[0]).tolist() == [5.0, 5.0, 5.0]


def test_a_failed_branch_keeps_the_tokens_that_a_judged_one_inherits() -> None:
    tree = root().grown(branch([10, 11], None), branch([20], 1.0, 0, 1), branch([30], None))
    field = unassigned(tree)
    scatter(tree, 1, np.array([1.0, 2.0]), field, add=False)
    assert assigned(field[0]).tolist() == [1.0, 0.0]
    assert assigned(field[1]).tolist() == [2.0]
    assert field[2] is None


@pytest.mark.parametrize(
    ("advantage", "weight", "signal"),
    [
        ([0.0, 1.0], [1.0, 1.0], True),
        ([0.0, -1.0], [0.0, 1.0], True),
        ([1.0, 0.0], [0.0, 1.0], False),  # the only advantage falls on a token that does not learn
        ([0.0, 0.0], [1.0, 1.0], False),
        ([1e-13, -1e-13], [1.0, 1.0], False),
        ([0.0, np.nan], [1.0, 1.0], True),  # nothing is left out without a word
    ],
)
def test_signal_needs_an_advantage_on_a_token_that_learns(
    advantage: list[float], weight: list[float], signal: bool
) -> None:
    none: TokenField = (None, None)
    field: TokenField = (np.array(advantage), None)
    weights: TokenField = (np.array(weight), None)
    assert has_signal((none, field), (none, weights)) is signal


def test_fields_of_a_tree_that_was_never_judged_are_unassigned() -> None:
    tree = flat([[2, 1]], [None])
    assert unassigned(tree) == [None]
    assert not has_signal((tuple(unassigned(tree)),), (tuple(unassigned(tree)),))
