"""Shards cover a batch and are even; pieces cover the work, the longest first, smaller towards the end."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.scale.shards import pieces_of, shard, shards_of
from creditree.select.everything import Everything
from creditree.tree import Forest
from tests.forests import EOS, KEY, flat, forests, grown_trees

PROBLEMS = st.lists(st.one_of(forests(), grown_trees().map(lambda tree: (tree,))), min_size=1, max_size=4)


def packed(problems: list[Forest]) -> Batch:
    advantages = [tuple(GroupRelative().assign(tree) for tree in forest) for forest in problems]
    weights = [Everything().weigh(forest, a, KEY) for forest, a in zip(problems, advantages, strict=True)]
    return pack(problems, advantages, weights, keep_zero_advantage=True)


def path(batch: Batch, row: int) -> list[int]:
    """Return the token ids from the prompt to a row."""
    above = [i for i in range(row + 1) if batch.enter[i] <= batch.enter[row] < batch.exit[i]]
    return [int(token) for token in batch.token_ids[above]]


@given(PROBLEMS, st.integers(1, 5))
def test_shards_hold_every_term_once_with_all_that_is_above_it(problems: list[Forest], count: int) -> None:
    batch = packed(problems)
    shards = shards_of(batch, count)
    assert len(shards) <= count
    assert Counter(term for terms in shards for term in terms.tolist()) == Counter(range(batch.num_terms))
    for terms in shards:
        own = shard(batch, terms)
        assert own.weight.tolist() == batch.weight[terms].tolist()
        assert [path(own, row) for row in own.row] == [path(batch, row) for row in batch.row[terms]]
        assert not own.handles.any()


def sizes(batch: Batch, count: int) -> list[int]:
    return sorted(shard(batch, terms).num_tokens for terms in shards_of(batch, count))


def chain(length: int, first: int = 2) -> tuple[int, ...]:
    return (*([first] * (length - 1)), EOS)


def test_whole_problems_go_to_who_has_least() -> None:
    # prompts of 2 tokens; a completion's last token stands on no row: 2 + 2 * (n - 1) tokens with two that share none
    problems: list[Forest] = [(flat([chain(n, 2), chain(n, 3)], [0.0, 1.0]),) for n in (11, 6, 6)]
    batch = packed(problems)
    whole = batch.num_tokens
    assert sizes(batch, 1) == [whole]
    even = sizes(batch, 2)
    assert sum(even) == whole  # no prefix is forwarded twice
    assert even[1] <= 1.1 * whole / 2 + 1


def test_one_heavy_tree_is_cut_where_it_branches_and_what_is_above_goes_along() -> None:
    batch = packed([(flat([chain(20, 2), chain(20, 3), chain(20, 4), chain(20, 2)], [0.0, 1.0, 1.0, 0.0]),)])
    prompt = int(np.argmax(batch.exit != batch.num_tokens))
    halves = sizes(batch, 3)
    assert len(halves) == 3
    assert sum(halves) == batch.num_tokens + 2 * prompt
    assert halves[2] - halves[0] <= 1


def test_a_chain_is_not_cut() -> None:
    batch = packed([(flat([chain(20)] * 2, [0.0, 1.0]),)])
    assert len(sizes(batch, 4)) == 1


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 8)), max_size=30), st.integers(1, 5), st.integers(1, 16))
def test_pieces_hold_all_work_once(work: list[tuple[int, int]], workers: int, good_rows: int) -> None:
    pieces = pieces_of([tokens for tokens, _ in work], [rows for _, rows in work], workers, good_rows)
    assert Counter(index for piece in pieces for index in piece) == Counter(range(len(work)))
    assert all(pieces)


def test_pieces_become_smaller_and_the_longest_come_first() -> None:
    # 16 of 10 tokens and one of 100 for two workers: 260 / 4 = 65 a piece, then 95 / 4 = 24 (rounded up), ...
    pieces = pieces_of([10] * 16 + [100], [1] * 17, workers=2, good_rows=1)
    assert pieces[0] == [16]
    assert [len(piece) for piece in pieces[1:]] == sorted((len(piece) for piece in pieces[1:]), reverse=True)
    assert len(pieces[1]) == 7
    assert len(pieces[-1]) == 1


def test_a_piece_has_as_many_rows_as_decoding_takes_for_one_but_nobody_is_idle_for_it() -> None:
    assert [len(piece) for piece in pieces_of([10] * 64, [1] * 64, workers=2, good_rows=16)] == [16] * 4
    assert [len(piece) for piece in pieces_of([10] * 8, [1] * 8, workers=2, good_rows=256)] == [4, 4]
