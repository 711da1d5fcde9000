"""The laws of the tree, on random trees with forks at many places."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.tree import RolloutTree
from tests.forests import assigned, branch, flat_trees, grown_trees, plain_completion


@given(grown_trees())
def test_every_sampled_token_lies_in_exactly_one_span(tree: RolloutTree) -> None:
    held = Counter((span.branch, at) for span in tree.spans() for at in range(span.start, span.stop))
    assert held == Counter((leaf, at) for leaf in tree.leaves for at in range(len(tree.branches[leaf].token_ids)))


@given(grown_trees())
def test_spans_on_a_leafs_path_tile_its_completion(tree: RolloutTree) -> None:
    spans = tree.spans()
    for leaf in tree.leaves:
        mine = [span for span in spans if leaf in span.leaves]
        tokens = np.concatenate([tree.branches[span.branch].token_ids[span.start : span.stop] for span in mine])
        assert tokens.tolist() == tree.completion(leaf).tolist()
        assert [span.parent for span in mine] == [None, *(spans.index(span) for span in mine[:-1])]


@given(grown_trees())
def test_completion_equals_walking_up_token_by_token(tree: RolloutTree) -> None:
    for leaf in tree.leaves:
        walked = plain_completion(tree, leaf)
        assert tree.completion(leaf).tolist() == [token for _, _, token in walked]
        assert len(walked) == tree.branches[leaf].end
        by_path = [(index, at) for index, stop in tree.path(leaf) for at in range(stop)]
        assert by_path == [(index, at) for index, at, _ in walked]


@given(grown_trees())
def test_leaves_of_a_span_are_the_completions_that_contain_it(tree: RolloutTree) -> None:
    for span in tree.spans():
        token = (span.branch, span.start)
        assert span.leaves == tuple(
            leaf for leaf in tree.leaves if token in [(index, at) for index, at, _ in plain_completion(tree, leaf)]
        )


@given(grown_trees())
def test_spans_are_maximal(tree: RolloutTree) -> None:
    """Where a branch is cut, something forks."""
    forks = {
        (plain_completion(tree, leaf)[tree.branches[leaf].fork - 1][:2]) for leaf in tree.leaves if _forked(tree, leaf)
    }
    for span in tree.spans():
        if span.stop < len(tree.branches[span.branch].token_ids):
            assert (span.branch, span.stop - 1) in forks


def _forked(tree: RolloutTree, leaf: int) -> bool:
    return tree.branches[leaf].fork > 0


@given(grown_trees())
def test_no_branch_forks_at_or_above_its_parents_first_token(tree: RolloutTree) -> None:
    for held in tree.branches:
        if held.parent is None:
            assert held.fork == 0
        else:
            assert tree.branches[held.parent].fork < held.fork < tree.branches[held.parent].end


@given(grown_trees(), st.data())
def test_rehoming_keeps_the_completion(tree: RolloutTree, data: st.DataObject) -> None:
    parent = data.draw(st.integers(0, len(tree.branches) - 1))
    fork = data.draw(st.integers(0, tree.branches[parent].end - 1))
    grown = tree.grown(branch([9, 1], 0.0, parent, fork))
    assert grown.completion(len(tree.branches)).tolist() == [*tree.completion(parent)[:fork].tolist(), 9, 1]


@given(grown_trees())
def test_span_values_telescope(tree: RolloutTree) -> None:
    spans = tree.spans()
    value = [tree.rewards(span.leaves).mean() for span in spans]
    top = tree.rewards(tree.leaves).mean()
    for leaf in tree.leaves:
        mine = [index for index, span in enumerate(spans) if leaf in span.leaves]
        gains = [value[i] - (top if (parent := spans[i].parent) is None else value[parent]) for i in mine]
        assert np.isclose(sum(gains), tree.rewards([leaf])[0] - top, atol=1e-12)


@given(flat_trees())
def test_a_flat_group_has_one_span_a_completion(tree: RolloutTree) -> None:
    assert [(s.branch, s.start, s.stop, s.leaves, s.parent) for s in tree.spans()] == [
        (leaf, 0, tree.branches[leaf].end, (leaf,), None) for leaf in tree.leaves
    ]


@given(flat_trees())
def test_on_a_flat_group_the_global_advantage_is_reward_minus_mean_and_the_gains_sum_to_it(tree: RolloutTree) -> None:
    rewards = tree.rewards(tree.leaves)
    central = GroupRelative(std=False).assign(tree)
    gains = PrefixGain().assign(tree)
    for leaf in tree.leaves:
        expected = rewards[leaf] - rewards.mean()
        assert np.allclose(assigned(central[leaf]), expected, atol=1e-12)
        assert np.isclose(assigned(gains[leaf]).sum(), expected, atol=1e-12)
