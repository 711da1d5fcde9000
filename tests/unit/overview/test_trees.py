"""Segments and forks of a tree, by hand and as laws."""

import numpy as np
import pytest
from hypothesis import given

from creditree.overview.trees import Ranked, ShownTree, forks_of, runs_of, segments_of, shown_forest
from creditree.runs.forests import StoredTree
from creditree.tree import RolloutTree
from tests.forests import EOS, flat, grown_trees
from tests.stored_run import forked_tree, pieces


def stored(tree: RolloutTree) -> StoredTree:
    nothing = (None,) * len(tree.branches)
    texts = tuple(tuple(pieces(branch.token_ids)) for branch in tree.branches)
    return StoredTree(tree, nothing, nothing, ("",) * len(tree.branches), texts)


def test_segments_by_hand() -> None:
    # 2 3 4 1 (0), 2 3 5 1 (1), 2 3 5 5 (1) and 3 1 (no reward): in the order of their tokens, so rows 0, 2, 3 and, as
    # 2 3 5 1 comes before 2 3 5 5, leaf 2 has row 1 behind leaf 0, whose token 4 comes first.
    segments, rows = segments_of(forked_tree())
    assert rows == (0, 3, 1, 2)
    found = [(s.start, s.stop, s.row, s.rows, s.leaf, s.parent) for s in segments]
    assert found == [
        (0, 2, 0, 3, 0, None),  # 2 3
        (2, 4, 0, 1, 0, 0),  # 4 1
        (2, 3, 1, 2, 2, 0),  # 5
        (3, 4, 1, 1, 2, 2),  # 1
        (3, 4, 2, 1, 3, 2),  # 5
        (0, 2, 3, 1, 1, None),  # 3 1
    ]
    assert [s.value for s in segments] == [pytest.approx(2 / 3), 0.0, 1.0, 1.0, 1.0, None]


def test_completions_that_share_tokens_by_chance_share_segments() -> None:
    segments, rows = segments_of(flat([(2, EOS), (2, EOS), (2, 3, EOS)], [1.0, 0.0, 1.0]))
    assert rows == (0, 1, 2)
    assert [(s.start, s.stop, s.rows, s.value) for s in segments] == [
        (0, 1, 3, pytest.approx(2 / 3)),
        (1, 2, 2, 0.5),
        (1, 3, 1, 1.0),
    ]


@given(tree=grown_trees(failures=True))
def test_segments_tile_every_completion(tree: RolloutTree) -> None:
    segments, rows = segments_of(tree)
    assert sorted(rows) == list(tree.leaves)
    for leaf in tree.leaves:
        own = sorted((s.start, s.stop) for s in segments if s.row <= rows[leaf] < s.row + s.rows)
        length = len(tree.completion(leaf))
        assert [start for start, _ in own] == [0, *(stop for _, stop in own[:-1])]
        assert own[-1][1] == length
    for segment in segments:
        if segment.parent is not None:
            above = segments[segment.parent]
            assert above.stop == segment.start
            assert above.row <= segment.row
            assert segment.row + segment.rows <= above.row + above.rows


def test_a_fork_has_its_reasons_with_their_ranks() -> None:
    (fork,) = forks_of(stored(forked_tree()))
    assert (fork.parent, fork.at, fork.children) == (0, 2, (2, 3))
    assert "script" in str(fork.piece)
    # -log p of tokens 2 3 4 1 by the builder: .3, .41, .52, .23; entropies .1 .2 1.5 .3; two steps of .5 and 0.
    assert fork.reasons["entropy"] == Ranked(1.5, 1, 4)
    assert fork.reasons["influence"] == Ranked(0.0, 2, 2)
    assert (fork.reasons["surprisal"].rank, fork.reasons["surprisal"].of) == (1, 4)
    assert fork.reasons["surprisal"].value == pytest.approx(0.52)


def test_a_replay_knows_the_completion_that_it_keeps_a_part_of() -> None:
    first = flat([(3, EOS), (2, 5, EOS)], [0.0, 1.0])
    shown: list[ShownTree] = list(shown_forest(3, (stored(first), stored(flat([(4, EOS)], [1.0], kept=(2,))))).trees)
    assert [tree.origin for tree in shown] == [None, 1]
    assert shown_forest(3, (stored(first), stored(flat([(4, EOS)], [1.0], kept=(9,))))).trees[1].origin is None


def test_runs_of_equal_numbers() -> None:
    assert runs_of(np.array([1.0, 1.0, 2.0])) == [(0, 2, 1.0), (2, 3, 2.0)]
