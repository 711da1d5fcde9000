"""The rollout tree on trees small enough to draw."""

import numpy as np
import pytest

from creditree.problem import Verdict
from creditree.tree import Branch, RolloutTree, Span, token_array
from tests.forests import PROMPT, branch, flat, root


@pytest.fixture
def tree() -> RolloutTree:
    """Return three branches: 1 leaves 0 after two tokens, 2 leaves 1 after one of its own.

    0: 10 11 12 13
    1:       20 21 22    (fork 2)
    2:          30       (fork 3)
    """
    return root().grown(branch([10, 11, 12, 13], 1.0), branch([20, 21, 22], 0.5, 0, 2), branch([30], 0.0, 1, 3))


def test_completion_joins_what_was_inherited_and_what_was_sampled(tree: RolloutTree) -> None:
    assert tree.completion(0).tolist() == [10, 11, 12, 13]
    assert tree.completion(1).tolist() == [10, 11, 20, 21, 22]
    assert tree.completion(2).tolist() == [10, 11, 20, 30]
    assert [b.end for b in tree.branches] == [4, 5, 4]


def test_path_counts_tokens_within_each_branch(tree: RolloutTree) -> None:
    assert tree.path(2) == [(0, 2), (1, 1), (2, 1)]


def test_spans_are_cut_at_every_fork(tree: RolloutTree) -> None:
    assert tree.spans() == (
        Span(0, 0, 2, (0, 1, 2), None),
        Span(0, 2, 4, (0,), 0),
        Span(1, 0, 1, (1, 2), 0),
        Span(1, 1, 3, (1,), 2),
        Span(2, 0, 1, (2,), 2),
    )


def test_two_forks_at_one_place_cut_once() -> None:
    tree = root().grown(branch([10, 11]), branch([20], 0.0, 0, 1), branch([30], 0.0, 0, 1))
    assert tree.spans() == (
        Span(0, 0, 1, (0, 1, 2), None),
        Span(0, 1, 2, (0,), 0),
        Span(1, 0, 1, (1,), 0),
        Span(2, 0, 1, (2,), 0),
    )


def test_context_is_what_a_new_branch_continues() -> None:
    tree = root(kept=[5]).grown(branch([10, 11, 12]))
    assert tree.context(None, 0).tolist() == [*PROMPT, 5]
    assert tree.context(0, 2).tolist() == [*PROMPT, 5, 10, 11]
    assert tree.root_ids.tolist() == [*PROMPT, 5]


@pytest.mark.parametrize(
    ("parent", "fork", "home"),
    [
        (2, 3, 1),  # branch 2 starts at 3: the token before the fork is branch 1's
        (2, 2, 0),  # branch 1 starts at 2: the token before the fork is branch 0's
        (2, 0, None),  # nothing is inherited
        (1, 3, 1),
        (0, 1, 0),
    ],
)
def test_a_fork_above_its_parents_first_token_is_rehomed(
    tree: RolloutTree, parent: int, fork: int, home: int | None
) -> None:
    grown = tree.grown(branch([40], 0.0, parent, fork))
    assert grown.branches[3].parent == home
    assert grown.completion(3).tolist() == [*tree.completion(parent)[:fork], 40]


@pytest.mark.parametrize(
    ("parent", "fork", "reason"),
    [
        (3, 0, "does not exist"),
        (-1, 0, "does not exist"),
        (0, 4, "cannot fork after 4 tokens of a completion of 4"),
        (0, -1, "cannot fork after -1"),
        (None, 1, "inherits no token"),
    ],
)
def test_a_fork_that_does_not_exist_is_refused(tree: RolloutTree, parent: int | None, fork: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tree.grown(branch([40], 0.0, parent, fork))


def test_growing_makes_a_new_tree_and_keeps_indices(tree: RolloutTree) -> None:
    before = tree.branches
    grown = tree.grown(branch([40]), branch([50], 0.0, 3, 0))
    assert tree.branches is before
    assert grown.branches[:3] == before
    assert [grown.completion(leaf).tolist() for leaf in (3, 4)] == [[40], [50]]


def test_one_call_may_fork_from_a_branch_that_it_adds() -> None:
    tree = root().grown(branch([10, 11]), branch([20], 0.0, 0, 1))
    assert tree.completion(1).tolist() == [10, 20]


def test_rewards_are_nan_and_unlisted_where_the_verdict_failed() -> None:
    tree = flat([[2, 1], [3, 1], [4, 1]], [1.0, None, 0.0])
    assert tree.rewarded == (0, 2)
    assert np.array_equal(tree.rewards(range(3)), [1.0, np.nan, 0.0], equal_nan=True)


def test_a_branch_without_verdict_has_no_reward() -> None:
    tokens = token_array([2, 1])
    bare = Branch(None, 0, tokens, np.zeros(2), np.zeros(2), "stop")
    assert bare.reward is None
    assert bare.judged(Verdict(0.25)).reward == 0.25
    assert bare.verdict is None


def test_token_ids_cannot_be_written() -> None:
    tokens = token_array([1, 2])
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 5


def test_token_array_copies_what_it_is_given() -> None:
    source = np.array([1, 2])
    tokens = token_array(source)
    source[0] = 9
    assert tokens.tolist() == [1, 2]


@pytest.mark.parametrize(("logprobs", "sampler"), [(1, 2), (2, 1), (3, 2)])
def test_a_branch_needs_one_logprob_a_token(logprobs: int, sampler: int) -> None:
    with pytest.raises(ValueError, match="one log-probability for each token"):
        Branch(None, 0, token_array([2, 1]), np.zeros(logprobs), np.zeros(sampler), "stop")


def test_a_branch_holds_a_token() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Branch(None, 0, token_array([]), np.zeros(0), np.zeros(0), "stop")


def test_trie_of_a_tree_merges_equal_tokens_of_different_branches() -> None:
    tree = flat([[2, 3, 1], [2, 4, 1], [2, 3, 1]], [1.0, 0.0, 1.0])
    # Prefixes: (), 2, 23, 231, 24, 241.
    assert len(tree.trie(range(3))) == 6
    assert len(tree.trie([1])) == 4
