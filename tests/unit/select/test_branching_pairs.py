"""Each unique (prefix, token) pair once, against a dictionary of pairs written from the formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.fields import TokenField
from creditree.select.branching_pairs import BranchingPairs, PairNorm
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, assigned, branch, flat, flat_trees, forests, judged_completions, prefix_values, root

NORMS = st.sampled_from(("branching", "all", "nonzero"))
Pair = tuple[int, tuple[int, ...], int]
"""Tree, prefix in it, next token."""


def _weights(forest: Forest, u_norm: PairNorm = "branching") -> tuple[TokenField, ...]:
    return BranchingPairs(u_norm).weigh(forest, tuple(PrefixGain().assign(tree) for tree in forest), KEY)


def _weighted(forest: Forest, weights: tuple[TokenField, ...]) -> list[tuple[Pair, float, int]]:
    """Return every token that has a weight, as (pair, weight, leaf)."""
    return [
        ((index, completion[:at], token), float(assigned(field[leaf])[at]), leaf)
        for index, (tree, field) in enumerate(zip(forest, weights, strict=True))
        for leaf, completion in zip(tree.rewarded, judged_completions(tree), strict=True)
        for at, token in enumerate(completion)
        if assigned(field[leaf])[at] != 0
    ]


def _pairs(forest: Forest, u_norm: PairNorm) -> set[Pair]:
    found: set[Pair] = set()
    for index, tree in enumerate(forest):
        completions = judged_completions(tree)
        value = prefix_values(completions, tree.rewards(tree.rewarded))
        following: dict[tuple[int, ...], set[int]] = {}
        for completion in completions:
            for at, token in enumerate(completion):
                following.setdefault(completion[:at], set()).add(token)
        for prefix, tokens in following.items():
            for token in tokens:
                gain = value[(*prefix, token)] - value[prefix]
                if {"all": True, "branching": len(tokens) >= 2, "nonzero": abs(gain) > 1e-12}[u_norm]:
                    found.add((index, prefix, token))
    return found


# 2 3 1 (R 1) | 2 4 1 (R 0) | 2 3 1 (R 1): only 2 branches, into 3 and 4. All pairs: 2, 3, 4, 1 after 23, 1 after 24.
# V() = V(2) = 2/3, so 2 gains 0, 3 gains 1/3, 4 loses 2/3, and the two 1 gain 0.
TREE = flat([[2, 3, 1], [2, 4, 1], [2, 3, 1]], [1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("u_norm", "expected"),
    [
        ("branching", [[0, 1 / 2, 0], [0, 1 / 2, 0], [0, 0, 0]]),
        ("nonzero", [[0, 1 / 2, 0], [0, 1 / 2, 0], [0, 0, 0]]),
        ("all", [[1 / 5, 1 / 5, 1 / 5], [0, 1 / 5, 1 / 5], [0, 0, 0]]),
    ],
)
def test_golden(u_norm: PairNorm, expected: list[list[float]]) -> None:
    assert [assigned(values).tolist() for values in _weights((TREE,), u_norm)[0]] == expected


def test_branching_and_nonzero_differ_where_a_prefix_branches_without_gain() -> None:
    # () branches into 2 and 3 with V = 1/2 each; 2 branches into 3 (R 1) and 4 (R 0), 3 into 3 (R 1) and 4 (R 0).
    tree = flat([[2, 3, 1], [2, 4, 1], [3, 3, 1], [3, 4, 1]], [1.0, 0.0, 1.0, 0.0])
    assert assigned(_weights((tree,), "branching")[0][0]).tolist() == [1 / 6, 1 / 6, 0.0]
    assert assigned(_weights((tree,), "nonzero")[0][0]).tolist() == [0.0, 1 / 4, 0.0]


@given(forests(failures=True), NORMS)
def test_each_pair_of_u_once_with_one_over_its_size(forest: Forest, u_norm: PairNorm) -> None:
    expected = _pairs(forest, u_norm)
    found = _weighted(forest, _weights(forest, u_norm))
    assert sorted(pair for pair, _, _ in found) == sorted(expected)
    assert all(weight == 1.0 / len(expected) for _, weight, _ in found)


@given(forests(failures=True), NORMS)
def test_the_first_completion_that_holds_a_pair_carries_it(forest: Forest, u_norm: PairNorm) -> None:
    for (index, prefix, token), _, leaf in _weighted(forest, _weights(forest, u_norm)):
        tree = forest[index]
        pair = (*prefix, token)
        holders = [
            held
            for held, completion in zip(tree.rewarded, judged_completions(tree), strict=True)
            if completion[: len(pair)] == pair
        ]
        assert leaf == holders[0]


@given(forests(failures=True), NORMS)
def test_failed_verdicts_have_no_weights(forest: Forest, u_norm: PairNorm) -> None:
    for tree, field in zip(forest, _weights(forest, u_norm), strict=True):
        assert [values is None for values in field] == [held.reward is None for held in tree.branches]


@given(flat_trees(), NORMS, st.integers(2, 3))
def test_duplicating_the_group_leaves_the_weight_of_every_pair(tree: RolloutTree, u_norm: PairNorm, times: int) -> None:
    completions, rewards = judged_completions(tree), tree.rewards(tree.leaves).tolist()
    again = flat(completions * times, rewards * times)
    assert _by_pair(again, u_norm) == _by_pair(tree, u_norm)


@given(flat_trees(), NORMS)
def test_order_leaves_the_weight_of_every_pair(tree: RolloutTree, u_norm: PairNorm) -> None:
    backwards = flat(judged_completions(tree)[::-1], tree.rewards(tree.leaves).tolist()[::-1])
    assert _by_pair(backwards, u_norm) == _by_pair(tree, u_norm)


def _by_pair(tree: RolloutTree, u_norm: PairNorm) -> dict[Pair, float]:
    return {pair: weight for pair, weight, _ in _weighted((tree,), _weights((tree,), u_norm))}


@given(forests())
def test_weights_sum_to_one_or_there_is_no_branching(forest: Forest) -> None:
    total = sum(assigned(values).sum() for field in _weights(forest) for values in field)
    assert total == pytest.approx(1.0 if _pairs(forest, "branching") else 0.0)


def test_a_pair_of_two_trees_counts_in_each() -> None:
    # Both trees hold the pair (2, 3) and (2, 4), the second as (kept 2 | 3) and (kept 2 | 4): |U| = 2 + 2.
    forest = (flat([[2, 3, 1], [2, 4, 1]], [1.0, 0.0]), flat([[3, 1], [4, 1]], [1.0, 0.0], kept=[2]))
    first, second = _weights(forest)
    assert [assigned(values).tolist() for values in first] == [[0.0, 0.25, 0.0]] * 2
    assert [assigned(values).tolist() for values in second] == [[0.25, 0.0]] * 2


def test_equal_completions_have_no_branching_pair() -> None:
    weights = _weights((flat([[2, 1]] * 3, [1.0] * 3),))
    assert all(np.count_nonzero(assigned(values)) == 0 for values in weights[0])


def test_on_a_grown_tree_a_shared_token_is_weighted_where_it_is_held() -> None:
    # 2 3 1 (R 1), and 4 1 (R 0) after its first token: 2 branches into 3 and 4.
    tree = root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.0, 0, 1))
    assert [assigned(values).tolist() for values in _weights((tree,))[0]] == [[0.0, 0.5, 0.0], [0.5, 0.0]]


def test_an_unknown_way_to_count_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"u_norm is 'brnching'.*Did you mean 'branching'"):
        BranchingPairs("brnching")  # type: ignore[arg-type]
