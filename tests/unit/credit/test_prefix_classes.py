"""Classes of prefixes by text and by hidden state, against plain computations over all pairs."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.prefix_classes import connected, hidden_classes, normalised_text, text_classes
from creditree.credit.prefix_gain import PrefixGain
from creditree.tree import IntArray, RolloutTree
from tests.forests import assigned, flat, flat_trees, grown_trees, judged_completions

LETTERS = {2: "a", 3: " ", 4: "B", 5: "b", 6: ",", 7: "x", 1: ""}


def _texts(ids: Sequence[IntArray]) -> list[str]:
    return ["".join(LETTERS[int(token)] for token in one) for one in ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("So  the\nAnswer is: 12.", "so the answer is 12"),
        ("x = 3 + 4", "x=3+4"),
        ("x=3+4 ", "x=3+4"),
        ("1.5", "1.5"),
        ("15.", "15"),
        ("1 2", "1 2"),
        ("12", "12"),
        ("3 - 2", "3-2"),
        ("3, 2", "3 2"),
        ("2*(3)", "2*(3)"),
        ("(2) * 3", "(2)*3"),
        ('It\'s "so"!?', "it s so"),
        (" ,.", ""),
    ],
)
def test_normalised_text(text: str, expected: str) -> None:
    assert normalised_text(text) == expected
    assert normalised_text(expected) == expected


def test_numbers_and_operators_are_never_merged() -> None:
    different = ["12", "1 2", "1.2", "-12", "1-2", "1+2", "1*2", "1/2", "(1)2"]
    assert len({normalised_text(text) for text in different}) == len(different)


def test_golden_text_classes() -> None:
    # a B 1 | a , b 1 | x 1. Texts: a, aB, (end) | a, "a,", "a,b", (end) | x, (end). "a," is "a", but "a b" is no "ab".
    tree = text_classes(flat([[2, 4, 1], [2, 6, 5, 1], [7, 1]], [1.0, 0.0, 0.0]), _texts)
    first, second, third = (one.notes["classes"] for one in tree.branches)
    assert first[0] == second[0] == second[1]
    assert first[1] != second[2]
    assert len({*first.tolist(), *second.tolist(), *third.tolist()}) == 3 + 2 + 2
    tree = text_classes(flat([[4, 2, 1], [5, 2, 3, 1]], [1.0, 0.0]), _texts)  # "Ba" | "ba "
    field = PrefixGain("text").assign(tree)
    assert [assigned(values).tolist() for values in field] == [[0.0, 0.0, 0.5], [0.0, 0.0, 0.0, -0.5]]


def test_blank_prefixes_are_the_root_and_kept_tokens_count() -> None:
    tree = text_classes(flat([[3, 2, 1], [2, 1]], [1.0, 0.0], kept=[2, 3]), _texts)
    first, second = (one.notes["classes"] for one in tree.branches)
    assert first[0] == 0  # "a " and one more blank
    assert first[1] == second[0] != 0


@given(grown_trees(failures=True))
def test_equal_prefixes_have_equal_classes_and_whole_completions_their_own(tree: RolloutTree) -> None:
    rng = np.random.default_rng(len(tree.branches))
    states = [rng.standard_normal((len(one.token_ids), 2)) for one in tree.branches]
    for found in (text_classes(tree, _texts), hidden_classes(tree, states, 0.5)):
        class_of: dict[tuple[int, ...], int] = {}
        whole = set(judged_completions(found))
        for leaf, y in zip(found.rewarded, judged_completions(found), strict=True):
            along = np.concatenate([assigned_ids(found, branch)[:stop] for branch, stop in found.path(leaf)])
            for stop in range(1, len(y) + 1):
                assert class_of.setdefault(y[:stop], int(along[stop - 1])) == along[stop - 1]
        for y in whole:
            assert sum(name == class_of[y] for name in class_of.values()) == 1


def assigned_ids(tree: RolloutTree, branch: int) -> IntArray:
    """Return the classes of a branch."""
    classes = tree.branches[branch].notes["classes"]
    assert classes is not None
    return classes


def test_golden_hidden_classes() -> None:
    # Three completions that part at once. States after one token: 0, 8 and 90 degrees; cos 8 = 0.990: the first two are
    # one at 0.99, not at 0.995. After two tokens: 0, 90, 90 degrees: the last two are one; after three they are whole.
    tree = flat([[2, 2, 1], [3, 2, 1], [4, 2, 1]], [1.0, 0.0, 1.0])

    def at(*degrees: float) -> np.ndarray:
        return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1) * 3.0

    states = [at(45, 0, 0), at(45, 8, 90), at(45, 90, 90)]
    near = [one.notes["classes"] for one in hidden_classes(tree, states, 0.99).branches]
    assert near[0][0] == near[1][0] != near[2][0]
    assert near[0][1] != near[1][1] == near[2][1]
    assert len({int(one[2]) for one in near}) == 3
    far = [one.notes["classes"] for one in hidden_classes(tree, states, 0.995).branches]
    assert far[0][0] != far[1][0]


def test_a_whole_completion_is_merged_with_nothing_though_another_goes_on_from_it() -> None:
    # 2 3 (cut by length) is whole, and 2 3 1 goes on; 4 3 has the same state, but 2 3 is not to be one with it.
    tree = flat([[2, 3], [2, 3, 1], [4, 3, 1]], [0.0, 1.0, 1.0])
    same = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    _, second, third = (one.notes["classes"] for one in hidden_classes(tree, [same[:2], same, same], 0.99).branches)
    assert second[0] == third[0]
    assert second[1] != third[1]


@given(flat_trees(failures=True))
def test_no_pair_is_similar_enough_above_one_so_that_is_exact_matching(tree: RolloutTree) -> None:
    rng = np.random.default_rng(3)
    states = [rng.standard_normal((len(one.token_ids), 4)) for one in tree.branches]
    found = PrefixGain("hidden").assign(hidden_classes(tree, states, 1.0 + 1e-9))
    for a, b in zip(PrefixGain().assign(tree), found, strict=True):
        assert (a is None and b is None) or np.array_equal(assigned(a), assigned(b))


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_connected_by_walking_links(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    linked = rng.random((size, size)) < 0.2
    linked |= linked.T
    found = connected(linked)
    for start in range(size):
        seen, front = {start}, [start]
        while front:
            here = front.pop()
            for there in np.flatnonzero(linked[here]).tolist():
                if there not in seen:
                    seen.add(there)
                    front.append(there)
        assert found[start] == min(seen)
