"""What a batch promises the learner, checked against the forests that it was packed from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.batch import Batch, pack
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.learner.stretches import Stretch, stretches_of
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.tree import Forest, IntArray
from tests.forests import KEY, assigned, forests, grown_trees, plain_completion

Term = tuple[tuple[int, ...], int, float, float, float]
"""Prefix with prompt, token, advantage, weight, old log-probability."""

SELECTIONS: tuple[Selection, ...] = (Everything(), EarlyAndRandom(alpha=2, probability=0.5, k=3), BranchingPairs())
FORESTS = st.one_of(forests(failures=True), grown_trees().map(lambda tree: (tree,)))
COMPOSITIONS = st.one_of(
    st.tuples(st.just(PrefixGain()), st.sampled_from(SELECTIONS)),
    st.tuples(st.just(GroupRelative()), st.sampled_from(SELECTIONS[:2])),
)


def _packed(
    problems: Sequence[Forest], composition: tuple[Credit, Selection], keep_zero: bool
) -> tuple[Batch, Counter[Term]]:
    """Return the batch, and the terms that it must hold, collected token by token."""
    credit, select = composition
    advantages = [tuple(credit.assign(tree) for tree in forest) for forest in problems]
    weights = [select.weigh(forest, a, KEY) for forest, a in zip(problems, advantages, strict=True)]
    expected: Counter[Term] = Counter()
    for forest, forest_a, forest_w in zip(problems, advantages, weights, strict=True):
        for tree, tree_a, tree_w in zip(forest, forest_a, forest_w, strict=True):
            top = tuple(tree.root_ids.tolist())
            for leaf in tree.rewarded:
                completion = plain_completion(tree, leaf)
                tokens = tuple(token for _, _, token in completion)
                for depth, (index, at, token) in enumerate(completion):
                    if index != leaf:
                        continue
                    a, w = float(assigned(tree_a[leaf])[at]), float(assigned(tree_w[leaf])[at])
                    if w != 0 and (keep_zero or abs(a) > 1e-12):
                        old = float(tree.branches[leaf].logprobs[at])
                        expected[(*top, *tokens[:depth]), token, a, w * (1.0 / len(problems)), old] += 1
    return pack(problems, advantages, weights, keep_zero_advantage=keep_zero), expected


def _ancestors(batch: Batch) -> list[list[int]]:
    """Return for each skeleton token what it attends to, in order."""
    return [
        [j for j in range(batch.num_tokens) if batch.enter[j] <= batch.enter[i] < batch.exit[j]]
        for i in range(batch.num_tokens)
    ]


def _terms(batch: Batch) -> Counter[Term]:
    """Return the terms with their prefixes read back from the attention mask."""
    seen = _ancestors(batch)
    return Counter(
        (
            tuple(batch.token_ids[seen[row]].tolist()),
            int(batch.token[m]),
            float(batch.advantage[m]),
            float(batch.weight[m]),
            float(batch.old_logprob[m]),
        )
        for m, row in enumerate(batch.row)
    )


def _check_skeleton(batch: Batch) -> None:
    """Check the preorder, the depths, and that every token is needed and none is there twice."""
    seen = _ancestors(batch)
    assert batch.enter.tolist() == list(range(batch.num_tokens))
    assert all(i in ancestors for i, ancestors in enumerate(seen))
    assert batch.position.tolist() == [len(ancestors) - 1 for ancestors in seen]
    for ancestors in seen:
        assert all(set(seen[j]) <= set(ancestors) for j in ancestors)
    needed = {j for row in batch.row for j in seen[row]}
    assert needed == set(range(batch.num_tokens))


PROBLEMS = st.lists(FORESTS, min_size=1, max_size=3)


@given(PROBLEMS, COMPOSITIONS, st.booleans())
def test_terms_read_back_from_the_skeleton_are_those_of_the_forests(
    problems: list[Forest], composition: tuple[Credit, Selection], keep_zero: bool
) -> None:
    batch, expected = _packed(problems, composition, keep_zero)
    assert _terms(batch) == expected


@given(PROBLEMS, COMPOSITIONS, st.booleans())
def test_skeleton_holds_prompts_and_ancestors_of_terms_each_once(
    problems: list[Forest], composition: tuple[Credit, Selection], keep_zero: bool
) -> None:
    batch, _ = _packed(problems, composition, keep_zero)
    _check_skeleton(batch)
    if len(problems) == 1:
        prefixes = [tuple(batch.token_ids[ancestors].tolist()) for ancestors in _ancestors(batch)]
        assert len(set(prefixes)) == len(prefixes)


@given(PROBLEMS, COMPOSITIONS)
def test_the_parent_is_the_nearest_ancestor(problems: list[Forest], composition: tuple[Credit, Selection]) -> None:
    batch, _ = _packed(problems, composition, keep_zero=True)
    nearest = [max((j for j in seen if j != i), default=-1) for i, seen in enumerate(_ancestors(batch))]
    assert batch.parent.tolist() == nearest


@given(PROBLEMS, COMPOSITIONS, st.integers(1, 40))
def test_stretches_hold_every_token_once_with_its_ancestors_in_sight(
    problems: list[Forest], composition: tuple[Credit, Selection], max_tokens: int
) -> None:
    batch, _ = _packed(problems, composition, keep_zero=True)
    seen = _ancestors(batch)
    found: list[int] = []

    def visit(stretch: Stretch, above: frozenset[int]) -> None:
        tokens = stretch.tokens.tolist()
        assert tokens == sorted(tokens)
        assert tokens
        found.extend(tokens)
        visible = above | frozenset(tokens)
        assert all(visible >= set(seen[token]) for token in tokens)
        for one in stretch.below:
            visit(one, visible)

    for stretch in stretches_of(batch, max_tokens):
        visit(stretch, frozenset())
    assert sorted(found) == list(range(batch.num_tokens))


def _runs(batch: Batch) -> list[int]:
    """Return the lengths of the runs of tokens, each the only child of the one before."""
    children = Counter(batch.parent.tolist())
    lengths: list[int] = []
    for parent in batch.parent.tolist():
        if parent >= 0 and children[parent] == 1:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


@given(PROBLEMS, COMPOSITIONS, st.integers(1, 40))
def test_a_stretch_is_larger_than_asked_by_no_more_than_a_run(
    problems: list[Forest], composition: tuple[Credit, Selection], max_tokens: int
) -> None:
    batch, _ = _packed(problems, composition, keep_zero=True)
    for stretch in stretches_of(batch, max_tokens):
        assert stretch.largest <= max_tokens + max(_runs(batch))


@given(PROBLEMS, COMPOSITIONS)
def test_a_batch_that_fits_is_not_cut(problems: list[Forest], composition: tuple[Credit, Selection]) -> None:
    batch, expected = _packed(problems, composition, keep_zero=True)
    stretches = stretches_of(batch, max(batch.num_tokens, 1))
    assert [stretch.tokens.tolist() for stretch in stretches] == ([list(range(batch.num_tokens))] if expected else [])
    assert all(stretch.below == () for stretch in stretches)


@given(PROBLEMS, COMPOSITIONS, st.data())
def test_restricting_keeps_the_chosen_terms(
    problems: list[Forest], composition: tuple[Credit, Selection], data: st.DataObject
) -> None:
    batch, _ = _packed(problems, composition, keep_zero=True)
    chosen = np.array(
        data.draw(st.lists(st.booleans(), min_size=batch.num_terms, max_size=batch.num_terms)), dtype=np.bool_
    )
    part = batch.restricted(chosen)
    _check_skeleton(part)
    assert _terms(part) + _terms(batch.restricted(~chosen)) == _terms(batch)
    assert part.token.tolist() == batch.token[chosen].tolist()


@given(st.lists(forests(failures=True), min_size=2, max_size=3), COMPOSITIONS)
def test_a_batch_of_problems_is_their_batches_side_by_side(
    problems: list[Forest], composition: tuple[Credit, Selection]
) -> None:
    whole, _ = _packed(problems, composition, keep_zero=False)
    alone = [_packed([forest], composition, keep_zero=False)[0] for forest in problems]
    starts = np.cumsum([0, *(batch.num_tokens for batch in alone)])
    rows: list[IntArray] = [batch.row + start for batch, start in zip(alone, starts, strict=False)]
    assert whole.row.tolist() == np.concatenate(rows).tolist()
    assert whole.token_ids.tolist() == np.concatenate([batch.token_ids for batch in alone]).tolist()
    shares = np.concatenate([batch.weight for batch in alone]) / len(problems)
    assert whole.weight == pytest.approx(shares)
    assert all(begin <= row < end for (begin, end), r in zip(pairwise(starts), rows, strict=True) for row in r)


@given(PROBLEMS, st.sampled_from([(20, 0.5, 0), (0, 1.0, 20)]), st.booleans())
def test_s_grpo_with_room_for_every_token_is_grpo_to_the_bit(
    problems: list[Forest], rule: tuple[int, float, int], keep_zero: bool
) -> None:
    stochastic, _ = _packed(problems, (GroupRelative(), EarlyAndRandom(*rule)), keep_zero)
    full, _ = _packed(problems, (GroupRelative(), Everything()), keep_zero)
    for column in fields(Batch):
        assert np.array_equal(getattr(stochastic, column.name), getattr(full, column.name)), column.name


@given(st.lists(forests(failures=True), min_size=1, max_size=2))
def test_t_spmo_has_at_most_2_l_minus_2_terms_a_tree(problems: list[Forest]) -> None:
    batch, _ = _packed(problems, (PrefixGain(), BranchingPairs()), keep_zero=False)
    distinct = [len({tuple(tree.completion(leaf).tolist()) for leaf in tree.rewarded}) for f in problems for tree in f]
    assert batch.num_terms <= sum(2 * max(count - 1, 0) for count in distinct)


@given(forests(failures=True))
def test_terms_of_a_replay_tree_stand_behind_its_kept_tokens(forest: Forest) -> None:
    for tree in forest[1:]:
        batch, _ = _packed([(tree,)], (PrefixGain(), Everything()), keep_zero=False)
        assert (batch.position[batch.row] >= len(tree.root_ids) - 1).all()
