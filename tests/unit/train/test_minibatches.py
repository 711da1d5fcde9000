"""Which problems make one optimiser step together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.rng import Key
from creditree.train.minibatches import Size, minibatches
from tests.forests import branch, flat, root

KEY = Key.of(3)
SIZES = st.lists(st.builds(Size, st.integers(0, 30), st.integers(0, 500)), max_size=30)


def test_the_size_of_a_problem() -> None:
    """A prompt of 3, and the tokens of the completions with an advantage, each once: 2 + 1, and 3 of the replay."""
    tree = root().grown(branch([2, 1], 1.0), branch([3], 0.0, 0, 1), branch([4, 4, 1], 1.0))
    replay = flat([[2, 2, 1]], [1.0], kept=[4])
    fields = ((np.zeros(2), np.zeros(1), None), (np.zeros(3),))
    assert Size.of((tree, replay), fields) == Size(rows=3, tokens=3 + 2 + 1 + 3)
    assert Size.of((tree, replay), ((None,) * 3, (None,))) == Size(0, 0)


def test_golden() -> None:
    """24 rows, 10 a step: 2 steps. Longest first, to the lighter: 9 and 7, then 5 to the 7, then 4 to the 9."""
    sizes = [Size(6, tokens) for tokens in (7, 9, 5, 4)]
    found = minibatches(sizes, 10, KEY)
    assert sorted(found) == [[0, 2], [1, 3]]


def test_without_a_size_there_is_one_step_in_order() -> None:
    sizes = [Size(5, 9)] * 4
    assert minibatches(sizes, None, KEY) == minibatches(sizes, 100, KEY) == [[0, 1, 2, 3]]
    assert minibatches([], None, KEY) == minibatches([], 3, KEY) == [[]]


@pytest.mark.parametrize(("mini_batch", "steps"), [(1920, 1), (1281, 1), (1280, 2), (192, 10), (197, 10), (1, 64)])
def test_the_number_of_steps_is_the_nearest(mini_batch: int, steps: int) -> None:
    """64 problems of 30 rows; a problem is never cut."""
    assert len(minibatches([Size(30, 100)] * 64, mini_batch, KEY)) == steps


def test_problems_that_are_not_trained_on_make_no_step() -> None:
    sizes = [Size(0, 0), Size(4, 9), Size(0, 0), Size(4, 9)]
    found = minibatches(sizes, 1, KEY)
    assert len(found) == 2
    assert all(any(sizes[index].rows for index in batch) for batch in found)


@given(SIZES, st.integers(1, 100), st.integers(0, 9))
def test_every_problem_is_in_one_step_and_no_step_is_much_longer(sizes: list[Size], mini_batch: int, seed: int) -> None:
    found = minibatches(sizes, mini_batch, Key.of(seed))
    assert sorted(index for batch in found for index in batch) == list(range(len(sizes)))
    tokens = [sum(sizes[index].tokens for index in batch) for batch in found]
    assert max(tokens) - min(tokens) <= max((size.tokens for size in sizes), default=0)
    assert minibatches(sizes, mini_batch, Key.of(seed)) == found


def test_the_key_shuffles() -> None:
    sizes = [Size(10, 50)] * 8
    found = {tuple(map(tuple, minibatches(sizes, 20, Key.of(seed)))) for seed in range(20)}
    assert len(found) == 20
