"""Steps: where a completion is cut, and where its thinking ends."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.steps import Separators, find_separators, split_steps, think_stop
from creditree.tree import token_array

#          0    1     2       3       4      5        6         7          8
PIECES = ("a", "\n", ".\n\n", "\n\n", "b\n", "</", "think>", " Answer", "conclusions")
FOUND = find_separators(PIECES, think_end=(5, 6))
IDS = st.lists(st.integers(0, 8), max_size=30)


def cut(*ids: int, separators: Separators = FOUND) -> list[tuple[int, int]]:
    return split_steps(token_array(ids), separators)


def test_every_token_that_holds_a_separator_is_one() -> None:
    assert FOUND.levels == (frozenset({2, 3}), frozenset({1, 2, 3, 4}))
    assert FOUND.think_end == (5, 6)
    assert FOUND.conclusions == frozenset({7, 8})


def test_texts_of_a_task_replace_the_usual_ones() -> None:
    assert find_separators(["=", ";", "a;b"], texts=(";",)).levels == (frozenset({1, 2}),)


@pytest.mark.parametrize(
    ("ids", "steps"),
    [
        ((), []),
        ((0,), [(0, 1)]),
        ((3,), [(0, 1)]),  # one step, which is a separator
        ((0, 0, 3), [(0, 3)]),  # one step, which ends with its only separator
        ((0, 2, 0, 0, 3, 0), [(0, 2), (2, 5), (5, 6)]),  # a merged token, and a trailing rest
        ((0, 3, 3, 0), [(0, 2), (2, 3), (3, 4)]),  # nothing is merged with its neighbour
        ((0, 1, 1, 0, 3, 1), [(0, 5), (5, 6)]),  # single breaks count only where there is no double one
        ((0, 1, 0, 4, 0), [(0, 2), (2, 4), (4, 5)]),
        ((0, 5, 0), [(0, 1), (1, 2), (2, 3)]),  # no separator: every token
    ],
)
def test_golden(ids: tuple[int, ...], steps: list[tuple[int, int]]) -> None:
    assert cut(*ids) == steps


def test_no_id_is_special() -> None:
    separators = Separators((frozenset({150_000}),))
    assert cut(0, 150_000, 151_643, 0, separators=separators) == [(0, 2), (2, 4)]


def test_without_separators_every_token_is_a_step() -> None:
    assert cut(0, 3, 0, separators=Separators()) == [(0, 1), (1, 2), (2, 3)]


@given(IDS)
def test_steps_tile_and_end_with_a_separator(ids: list[int]) -> None:
    steps = cut(*ids)
    assert [t for start, stop in steps for t in range(start, stop)] == list(range(len(ids)))
    assert all(start < stop for start, stop in steps)
    level = next((level for level in FOUND.levels if level & set(ids)), frozenset(range(9)))
    assert all(ids[stop - 1] in level for _, stop in steps[:-1])
    assert all(not level & set(ids[start : stop - 1]) for start, stop in steps)
    assert all(a[1] == b[0] for a, b in pairwise(steps))


@pytest.mark.parametrize(
    ("ids", "step"),
    [
        ((0, 3, 0, 5, 6, 3, 0), 1),
        ((0, 3, 5, 6, 3, 5, 6, 0, 3, 0), 2),  # the last one counts
        ((5, 3, 6, 0), None),  # its tokens, but not in a row
        ((0, 3, 0), None),
        ((6,), None),
        ((5, 6), 1),  # no separator: every token is a step
        ((5, 6, 3), 0),
        ((), None),
    ],
)
def test_the_step_that_ends_the_thinking(ids: tuple[int, ...], step: int | None) -> None:
    assert think_stop(token_array(ids), cut(*ids), FOUND.think_end) == step


def test_it_is_the_step_in_which_the_last_token_of_the_mark_lies() -> None:
    # Every token a step: "</" is step 1, "think>" step 2.
    ids = token_array([0, 5, 6, 0])
    assert think_stop(ids, split_steps(ids, Separators()), (5, 6)) == 2


def test_a_model_without_thinking_has_no_such_step() -> None:
    assert think_stop(token_array([5, 6]), [(0, 2)], ()) is None


@given(IDS)
def test_equals_a_search_token_by_token(ids: list[int]) -> None:
    steps = cut(*ids)
    last = max((i + 1 for i in range(len(ids) - 1) if ids[i : i + 2] == [5, 6]), default=None)
    expected = None if last is None else next(k for k, (start, stop) in enumerate(steps) if start <= last < stop)
    assert think_stop(np.array(ids, dtype=np.int64), steps, (5, 6)) == expected
