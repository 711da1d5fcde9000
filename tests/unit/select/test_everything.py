"""Full-token weights: a mean over completions of means over tokens."""

import numpy as np
import pytest
from hypothesis import given

from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.fields import TokenField
from creditree.select.everything import Everything, LossMean
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, assigned, branch, flat, forests, grown_trees, plain_completion, root


def _weights(forest: Forest, mean: LossMean = "completions") -> tuple[TokenField, ...]:
    return Everything(loss_mean=mean).weigh(forest, tuple(GroupRelative().assign(tree) for tree in forest), KEY)


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


def test_golden_mean_over_tokens() -> None:
    """Two problems: completions of 3 and 2 tokens, and of 2 tokens beside one without a reward: 3 + 2 + 2 = 7."""
    problems = [
        (flat([[2, 3, 1], [4, 1]], [1.0, 0.0]),),
        (flat([[2, 1], [3, 3, 3, 1]], [1.0, None]),),
    ]
    weights = [_weights(forest, "tokens") for forest in problems]
    assert [assigned(field).tolist() for field in weights[0][0]] == [[1.0] * 3, [1.0] * 2]
    assert weights[1][0][1] is None
    advantages = [tuple(GroupRelative().assign(tree) for tree in forest) for forest in problems]
    assert Everything(loss_mean="tokens").normaliser(problems, advantages) == 7.0
    assert Everything().normaliser(problems, advantages) == 2.0
    lost = [(flat([[2, 1]], [None]),)]
    assert (
        Everything(loss_mean="tokens").normaliser([], [])
        == Everything(loss_mean="tokens").normaliser(lost, [((None,),)])
        == 1.0
    )


@pytest.mark.parametrize(
    ("mean", "first", "second"), [("tokens", [2, 1], [1, 1]), ("completions", [5 / 12, 1 / 4], [1 / 6] * 2)]
)
def test_completions_without_an_advantage_do_not_count(mean: LossMean, first: list[float], second: list[float]) -> None:
    """Of three completions the last has no advantage: the others weigh as if it were not there."""
    tree = root().grown(branch([2, 1], 1.0), branch([3, 1], 0.0, 0, 1), branch([4, 4, 4, 4, 1], 1.0))
    advantages = (np.zeros(2), np.zeros(2), None)
    select = Everything(loss_mean=mean)
    weights = select.weigh((tree,), (advantages,), KEY)
    assert assigned(weights[0][0]) == pytest.approx(first, abs=1e-15)
    assert assigned(weights[0][1]) == pytest.approx(second, abs=1e-15)
    assert weights[0][2] is None
    assert select.normaliser([(tree,)], [(advantages,)]) == (5.0 if mean == "tokens" else 1.0)


def test_a_mean_over_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.loss_mean is 'token', .* Did you mean 'tokens'"):
        Everything(loss_mean="token")  # type: ignore[arg-type]


@given(grown_trees(failures=True))
def test_in_the_mean_over_tokens_a_token_weighs_as_many_completions_as_hold_it(tree: RolloutTree) -> None:
    expected = [np.zeros(len(held.token_ids)) for held in tree.branches]
    for leaf in tree.rewarded:
        for index, at, _ in plain_completion(tree, leaf):
            expected[index][at] += 1.0
    weights = _weights((tree,), "tokens")
    for values, plain in zip(weights[0], expected, strict=True):
        assert (values is None) == (plain.sum() == 0)
        assert values is None or values.tolist() == plain.tolist()
    total = sum(tree.branches[leaf].end for leaf in tree.rewarded)
    advantages = (GroupRelative().assign(tree),)
    assert Everything(loss_mean="tokens").normaliser([(tree,)], [advantages]) == max(1, total)
    assert total == sum(values.sum() for values in weights[0] if values is not None)


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
