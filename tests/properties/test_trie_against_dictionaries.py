"""The array trie equals a dictionary of prefixes, for any sequences: repeats, prefixes of one another, empty ones."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from creditree.trie import TokenTrie
from tests.forests import prefix_values

Sequences = list[list[int]]
SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=7), min_size=1, max_size=10)


def _trie(sequences: Sequences) -> TokenTrie:
    return TokenTrie.of([np.array(sequence, dtype=np.int64) for sequence in sequences])


def _prefix(trie: TokenTrie, node: int) -> tuple[int, ...]:
    tokens: list[int] = []
    while node > 0:
        tokens.append(int(trie.token[node]))
        node = int(trie.parent[node])
    return tuple(reversed(tokens))


def _prefixes(trie: TokenTrie) -> list[tuple[int, ...]]:
    return [_prefix(trie, node) for node in range(len(trie))]


@given(SEQUENCES)
@example([[0, 1, 2], [0, 1], [0, 1, 2], []])
def test_nodes_are_the_prefixes_in_lexicographic_order(sequences: Sequences) -> None:
    prefixes = {tuple(sequence[:stop]) for sequence in sequences for stop in range(len(sequence) + 1)}
    trie = _trie(sequences)
    assert _prefixes(trie) == sorted(prefixes)
    assert trie.depth.tolist() == [len(prefix) for prefix in sorted(prefixes)]


@given(SEQUENCES)
def test_node_of_leads_from_each_sequence_to_its_prefixes(sequences: Sequences) -> None:
    trie = _trie(sequences)
    for nodes, sequence in zip(trie.node_of, sequences, strict=True):
        stop = len(sequence) + 1
        assert [_prefix(trie, node) for node in nodes[:stop]] == [tuple(sequence[:t]) for t in range(stop)]
        assert (nodes[stop:] == -1).all()


@given(SEQUENCES)
def test_exit_ends_the_interval_of_the_descendants(sequences: Sequences) -> None:
    trie = _trie(sequences)
    prefixes = _prefixes(trie)
    for node, prefix in enumerate(prefixes):
        below = [other for other, longer in enumerate(prefixes) if longer[: len(prefix)] == prefix]
        assert below == list(range(node, int(trie.exit[node])))


@given(SEQUENCES)
def test_counts_children_and_first_holders(sequences: Sequences) -> None:
    trie = _trie(sequences)
    for node, prefix in enumerate(_prefixes(trie)):
        holders = [row for row, sequence in enumerate(sequences) if tuple(sequence[: len(prefix)]) == prefix]
        following = {sequences[row][len(prefix)] for row in holders if len(sequences[row]) > len(prefix)}
        assert trie.counts[node] == len(holders)
        assert trie.num_children[node] == len(following)
        assert trie.first_holder()[node] == holders[0]


@given(SEQUENCES, st.data())
def test_means_are_those_of_the_sequences_that_start_with_the_prefix(sequences: Sequences, data: st.DataObject) -> None:
    values = np.array(
        data.draw(st.lists(st.floats(-5, 5), min_size=len(sequences), max_size=len(sequences))), dtype=np.float64
    )
    trie = _trie(sequences)
    expected = prefix_values(sequences, values)
    assert np.allclose(trie.means(values), [expected[prefix] for prefix in _prefixes(trie)], atol=1e-12)


@given(SEQUENCES, st.lists(st.integers(0, 3), max_size=4), st.data())
def test_a_part_of_a_trie_is_the_trie_of_that_part(
    sequences: Sequences, shared: list[int], data: st.DataObject
) -> None:
    """Of a trie of others too: some sequences, without the tokens that they have in common, as if nothing else was."""
    rows = data.draw(st.lists(st.sampled_from(range(len(sequences))), max_size=len(sequences)))
    others = data.draw(SEQUENCES)
    whole = _trie([*others, *([*shared, *sequence] for sequence in sequences)])
    part, expected = whole.below([len(others) + row for row in rows], len(shared)), _trie([sequences[r] for r in rows])
    for name in ("token", "parent", "depth", "exit", "node_of", "lengths"):
        assert getattr(part, name).tolist() == getattr(expected, name).tolist()
