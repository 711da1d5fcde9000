"""Prefixes that count as one though their tokens differ: values over classes, and the laws that stay."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.select.branching_pairs import BranchingPairs
from creditree.tree import ROOT_CLASS, RolloutTree
from tests.forests import KEY, assigned, branch, flat, flat_trees, grown_trees, judged_completions, root

Classes = dict[tuple[int, ...], int]
"""The class of every prefix, by its tokens."""


def classed(tree: RolloutTree, classes: Classes) -> RolloutTree:
    """Return a tree whose branches hold the classes of their prefixes."""
    held = []
    on_paths = {index for leaf in tree.rewarded for index, _ in tree.path(leaf)}
    for index, one in enumerate(tree.branches):
        tokens = tuple(tree.completion(index).tolist())
        own = [classes.get(tokens[: one.fork + at + 1], 0) for at in range(len(one.token_ids))]
        held.append(replace(one, notes={"classes": np.array(own)} if index in on_paths else {}))
    return replace(tree, branches=tuple(held))


def prefixes(tree: RolloutTree) -> list[tuple[int, ...]]:
    """Return every prefix but the root, each once, in a fixed order."""
    return sorted({y[:stop] for y in judged_completions(tree) for stop in range(1, len(y) + 1)})


def drawn_classes(tree: RolloutTree, numbers: list[int]) -> Classes:
    """Return made-up classes: a whole completion has its own, the others one of four, or that of the root."""
    whole = set(judged_completions(tree))
    return {
        prefix: 100 + at if prefix in whole else numbers[at % len(numbers)] for at, prefix in enumerate(prefixes(tree))
    }


def class_values(tree: RolloutTree, classes: Classes) -> dict[int, float]:
    """Return the mean reward of the completions that pass each class, by sets."""
    rewards = tree.rewards(tree.rewarded)
    passed: dict[int, set[int]] = {ROOT_CLASS: set(range(len(rewards)))}
    for row, y in enumerate(judged_completions(tree)):
        for stop in range(1, len(y) + 1):
            passed.setdefault(classes[y[:stop]], set()).add(row)
    return {name: float(np.mean([rewards[row] for row in rows])) for name, rows in passed.items()}


def test_golden() -> None:
    # 2 3 1 (R 1), 2 4 1 (R 0), 5 3 1 (R 1), 5 4 1 (R 1); 2 and 5 are one class, 2 3 and 5 3 are, 2 4 and 5 4 are not.
    # V() = 3/4, V(2 or 5) = 3/4, V(2 3 or 5 3) = 1, V(2 4) = 0, V(5 4) = 1. Exactly, V(2) = 1/2 and V(5) = 1.
    tree = flat([[2, 3, 1], [2, 4, 1], [5, 3, 1], [5, 4, 1]], [1.0, 0.0, 1.0, 1.0])
    classes = {(2,): 1, (5,): 1, (2, 3): 2, (5, 3): 2, (2, 4): 3, (5, 4): 4}
    classes |= {y: 10 + row for row, y in enumerate(judged_completions(tree))}
    field = PrefixGain("text").assign(classed(tree, classes))
    assert [assigned(values).tolist() for values in field] == [
        [0.0, 0.25, 0.0],
        [0.0, -0.75, 0.0],
        [0.0, 0.25, 0.0],
        [0.0, 0.25, 0.0],
    ]
    # Two tokens follow the root, and two follow 2 | 5, though only one follows 5: U holds 2, 5, 23, 24, 53, 54.
    weights = BranchingPairs().weigh((classed(tree, classes),), (field,), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[1 / 6, 1 / 6, 0], [0, 1 / 6, 0]] * 2
    # of three completions, 5 is followed by one token: alone it does not branch, in the class of 2 it does
    tree = flat([[2, 3, 1], [2, 4, 1], [5, 3, 1]], [1.0, 0.0, 1.0])
    weights = BranchingPairs().weigh((classed(tree, classes),), (PrefixGain().assign(tree),), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.2, 0.2, 0], [0, 0.2, 0], [0.2, 0.2, 0]]
    weights = BranchingPairs().weigh((tree,), (PrefixGain().assign(tree),), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.25, 0.25, 0], [0, 0.25, 0], [0.25, 0, 0]]


def test_a_completion_counts_once_however_many_of_its_prefixes_are_in_a_class() -> None:
    # 2 2 2 1 (R 1) and 2 3 1 (R 0): 2, 2 2 and 2 2 2 are one class, which both pass: V = 1/2, not (3 + 0) / 4.
    tree = flat([[2, 2, 2, 1], [2, 3, 1]], [1.0, 0.0])
    classes = {(2,): 1, (2, 2): 1, (2, 2, 2): 1, (2, 3): 2, (2, 2, 2, 1): 3, (2, 3, 1): 4}
    field = PrefixGain("hidden").assign(classed(tree, classes))
    assert assigned(field[0]).tolist() == [0.0, 0.0, 0.0, 0.5]
    assert assigned(field[1]).tolist() == [0.0, -0.5, 0.0]


@given(st.one_of(flat_trees(failures=True), grown_trees(failures=True)), st.lists(st.integers(0, 4), min_size=1))
def test_gains_are_differences_of_class_values(tree: RolloutTree, numbers: list[int]) -> None:
    classes = drawn_classes(tree, numbers)
    field = PrefixGain("text").assign(classed(tree, classes))
    if not tree.rewarded:
        return
    values = class_values(tree, classes)
    for leaf, y in zip(tree.rewarded, judged_completions(tree), strict=True):
        path = [values[ROOT_CLASS], *(values[classes[y[:stop]]] for stop in range(1, len(y) + 1))]
        own = assigned(field[leaf])
        assert own == pytest.approx([b - a for a, b in pairwise(path)][len(y) - len(own) :], abs=1e-12)


@given(flat_trees(), st.lists(st.integers(0, 4), min_size=1))
def test_gains_still_sum_to_the_reward_less_the_mean(tree: RolloutTree, numbers: list[int]) -> None:
    """Whole completions are merged by their tokens alone."""
    field = PrefixGain("hidden").assign(classed(tree, drawn_classes(tree, numbers)))
    rewards = tree.rewards(tree.rewarded)
    for values, reward in zip(field, rewards, strict=True):
        assert assigned(values).sum() == pytest.approx(reward - rewards.mean(), abs=1e-12)


def test_the_sum_over_next_tokens_is_zero_no_more() -> None:
    # 2 1 (R 1), 3 4 1 (R 0), 3 3 1 (R 1): 2 is one with 3 4, though the root knows better than either.
    tree = flat([[2, 5, 1], [3, 4, 1], [3, 3, 1]], [1.0, 0.0, 1.0])
    classes = {(2,): 1, (3, 4): 1, (3,): 2, (3, 3): 3, (2, 5): 4}
    classes |= {y: 10 + row for row, y in enumerate(judged_completions(tree))}
    field = PrefixGain("text").assign(classed(tree, classes))
    # V(3) = 1/2; V(3 4) = 1/2 (with 2), V(3 3) = 1: gains 0 and 1/2.
    assert [assigned(field[row])[1] for row in (1, 2)] == [0.0, 0.5]


@given(st.one_of(flat_trees(failures=True), grown_trees(failures=True)), st.sampled_from(["branching", "all"]))
def test_a_class_for_every_prefix_is_exact_matching_to_the_bit(tree: RolloutTree, u_norm: str) -> None:
    fuzzy = classed(tree, {prefix: 1 + at for at, prefix in enumerate(prefixes(tree))})
    exact = PrefixGain().assign(tree)
    found = PrefixGain("hidden").assign(fuzzy)
    select = BranchingPairs(u_norm)  # type: ignore[arg-type]
    pairs = (
        (exact, found),
        (select.weigh((tree,), (exact,), KEY)[0], select.weigh((fuzzy,), (exact,), KEY)[0]),
    )
    for plain, ours in pairs:
        for a, b in zip(plain, ours, strict=True):
            assert (a is None and b is None) or np.array_equal(assigned(a), assigned(b))


def test_classes_are_ignored_where_tokens_match_exactly() -> None:
    tree = flat([[2, 1], [3, 1]], [1.0, 0.0])
    merged = classed(tree, {(2,): 1, (3,): 1, (2, 1): 2, (3, 1): 3})
    assert assigned(PrefixGain().assign(merged)[0]).tolist() == [0.5, 0.0]
    assert assigned(PrefixGain("text").assign(merged)[0]).tolist() == [0.0, 0.5]


def test_without_classes_it_says_so() -> None:
    with pytest.raises(ValueError, match="no classes to match by"):
        PrefixGain("text").assign(root().grown(branch([2, 1], 1.0)))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.match is 'texts'.*Did you mean 'text'"):
        PrefixGain("texts")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"similarity has no effect while method.match is 'text'"):
        PrefixGain("text", 0.9)
    with pytest.raises(ConfigError, match="it is a cosine"):
        PrefixGain("hidden", 1.5)
    assert (PrefixGain("hidden").least_cosine, PrefixGain("hidden", 0.5).least_cosine) == (0.99, 0.5)
