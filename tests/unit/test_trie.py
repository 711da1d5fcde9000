"""The token trie on sequences small enough to draw."""

import numpy as np
import pytest

from creditree.trie import TokenTrie


@pytest.fixture
def trie() -> TokenTrie:
    """Return the trie of 3 5 1 | 3 1 | 3 5 1 | 4: in preorder (), 3, 31, 35, 351, 4."""
    return TokenTrie.of([np.array(y) for y in ([3, 5, 1], [3, 1], [3, 5, 1], [4])])


def test_nodes_are_in_preorder(trie: TokenTrie) -> None:
    assert trie.token.tolist() == [-1, 3, 1, 5, 1, 4]
    assert trie.parent.tolist() == [-1, 0, 1, 1, 3, 0]
    assert trie.depth.tolist() == [0, 1, 2, 2, 3, 1]
    assert trie.exit.tolist() == [6, 5, 3, 5, 5, 6]


def test_nodes_of_each_sequence(trie: TokenTrie) -> None:
    assert trie.node_of.tolist() == [[0, 1, 3, 4], [0, 1, 2, -1], [0, 1, 3, 4], [0, 5, -1, -1]]
    assert trie.lengths.tolist() == [3, 2, 3, 1]


def test_counts_children_means_and_first_holders(trie: TokenTrie) -> None:
    assert trie.counts.tolist() == [4, 3, 1, 2, 2, 1]
    assert trie.num_children.tolist() == [2, 2, 0, 1, 0, 0]
    assert trie.first_holder().tolist() == [0, 0, 1, 0, 0, 3]
    # Rewards 1, 0, 1, 0: V() = 2/4, V(3) = 2/3, V(31) = 0, V(35) = V(351) = 2/2, V(4) = 0.
    assert trie.means(np.array([1.0, 0.0, 1.0, 0.0])).tolist() == [0.5, 2 / 3, 0.0, 1.0, 1.0, 0.0]


def test_a_sequence_that_is_a_prefix_of_another_ends_at_an_inner_node() -> None:
    trie = TokenTrie.of([np.array([3, 4, 5]), np.array([3]), np.array([], dtype=np.int64)])
    assert trie.token.tolist() == [-1, 3, 4, 5]
    assert trie.node_of.tolist() == [[0, 1, 2, 3], [0, 1, -1, -1], [0, -1, -1, -1]]
    assert trie.counts.tolist() == [3, 2, 1, 1]
    assert trie.num_children.tolist() == [1, 1, 1, 0]
    assert trie.first_holder().tolist() == [0, 0, 0, 0]


def test_one_empty_sequence_is_the_root_alone() -> None:
    trie = TokenTrie.of([np.array([], dtype=np.int64)])
    assert len(trie) == 1
    assert trie.exit.tolist() == [1]
    assert trie.counts.tolist() == [1]


def test_no_sequence_makes_no_node() -> None:
    trie = TokenTrie.of([])
    assert len(trie) == 0
    assert trie.counts.tolist() == trie.num_children.tolist() == trie.first_holder().tolist() == []
    assert trie.means(np.zeros(0)).tolist() == []


def test_token_zero_is_a_token() -> None:
    trie = TokenTrie.of([np.array([0, 0]), np.array([0])])
    assert trie.token.tolist() == [-1, 0, 0]
    assert trie.counts.tolist() == [2, 2, 1]
