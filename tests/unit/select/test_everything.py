"""Full-token weights: a mean over completions of means over tokens."""

import numpy as np
import pytest
from hypothesis import given

from creditree.credit.group_relative import GroupRelative
from creditree.fields import TokenField
from creditree.select.everything import Everything
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, assigned, branch, flat, forests, grown_trees, plain_completion, root


def _weights(forest: Forest) -> tuple[TokenField, ...]:
    return Everything().weigh(forest, tuple(GroupRelative().assign(tree) for tree in forest), KEY)


def test_golden() -> None:
    # G = 2 judged completions of 3 and 2 tokens: 1/(2*3) and 1/(2*2).
    field = _weights((flat([[2, 3, 1], [4, 1], [3, 1]], [1.0, 0.0, None]),))[0]
    assert assigned(field[0]) == pytest.approx([1 / 6] * 3, abs=1e-15)
    assert assigned(field[1]) == pytest.approx([1 / 4] * 2, abs=1e-15)
    assert field[2] is None


def test_kept_tokens_are_not_counted_in_the_length() -> None:
    # G = 2 + 1; the replayed completion sampled one token.
    first, second = _weights((flat([[2, 1], [3, 1]], [1.0, 0.0]), flat([[1]], [1.0], kept=[2])))
    assert assigned(first[0]) == pytest.approx([1 / 6] * 2, abs=1e-15)
    assert assigned(second[0]) == pytest.approx([1 / 3], abs=1e-15)


def test_a_shared_token_has_the_sum_of_its_completions_weights() -> None:
    # Completions of 2 and 3 tokens; the first token belongs to both: 1/(2*2) + 1/(2*3) = 5/12.
    tree = root().grown(branch([2, 1], 1.0), branch([3, 1], 0.0, 0, 1))
    field = _weights((tree,))[0]
    assert assigned(field[0]) == pytest.approx([5 / 12, 1 / 4], abs=1e-15)
    assert assigned(field[1]) == pytest.approx([1 / 6, 1 / 6], abs=1e-15)


@given(forests(failures=True))
def test_each_judged_completion_weighs_the_same_and_all_together_one(forest: Forest) -> None:
    weights = _weights(forest)
    group = sum(len(tree.rewarded) for tree in forest)
    sums = [assigned(field[leaf]).sum() for tree, field in zip(forest, weights, strict=True) for leaf in tree.rewarded]
    assert np.allclose(sums, 1.0 / group if group else 0.0)
    for tree, field in zip(forest, weights, strict=True):
        assert [values is None for values in field] == [held.reward is None for held in tree.branches]


@given(grown_trees())
def test_on_a_grown_tree_weights_are_those_of_one_row_per_leaf_added_up(tree: RolloutTree) -> None:
    expected = [np.zeros(len(held.token_ids)) for held in tree.branches]
    for leaf in tree.leaves:
        tokens = plain_completion(tree, leaf)
        for index, at, _ in tokens:
            expected[index][at] += 1.0 / (len(tree.branches) * len(tokens))
    field = _weights((tree,))[0]
    assert all(np.allclose(assigned(values), plain) for values, plain in zip(field, expected, strict=True))
