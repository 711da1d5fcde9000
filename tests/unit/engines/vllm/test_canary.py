"""Stale weights are told from rounding, by the margin that the docstring states."""

import numpy as np
import pytest

from creditree.engines.vllm.canary import BASE, CONFIRMED, LEAST_NOISE, PREVIOUS, Canary, judge
from creditree.tree import FloatArray

BASE_SCORES = np.array([-1.0, -2.0, -0.5, -3.0])


def begun(noise: float = 0.01, limit: float = 0.5) -> Canary:
    """Return a canary whose server rounds by `noise` at every token: the root mean square of +-noise."""
    return Canary.begin(BASE_SCORES + noise * np.array([1, -1, 1, -1]), BASE_SCORES, limit)


def moved(size: float) -> FloatArray:
    """Return scores whose distance from the base's is `size`: two tokens by size / sqrt(2)."""
    return np.asarray(BASE_SCORES + size / np.sqrt(2) * np.array([1.0, 0.0, 0.0, -1.0]))


def test_noise_is_measured_and_never_taken_for_nothing() -> None:
    assert begun(0.01).noise == pytest.approx(0.01)
    assert begun(0.0).noise == LEAST_NOISE


@pytest.mark.parametrize("size", [0.1001, 1.0])
def test_from_ten_times_the_rounding_on_base_weights_are_told_from_the_new(size: float) -> None:
    canary = begun(0.01)
    learner = moved(size)
    assert canary.look(BASE_SCORES, learner).stale == BASE  # z = -size / 2 / 0.01
    fresh = canary.look(learner, learner)
    assert fresh.stale is None
    assert fresh.told == {BASE}


def test_below_that_nothing_is_told_and_nothing_is_confirmed() -> None:
    found = begun(0.01).look(BASE_SCORES, moved(0.0999))
    assert found.stale is None
    assert not found.told


def test_weights_that_hardly_differ_are_never_called_stale_however_many_tokens() -> None:
    """Three roundings of the same scores: |l - h| grows with the tokens, and says nothing."""
    random = np.random.default_rng(0)
    for _ in range(2000):
        server, learner, other = random.normal(0.0, 0.01, (3, 400))
        found = judge(server, learner, {BASE: other}, 0.01)
        assert found.stale is None


def test_rounding_that_is_larger_than_measured_deceives_nobody() -> None:
    """Tokens that are drawn hot round more than the canary's: the rounding that is seen counts."""
    random = np.random.default_rng(1)
    for _ in range(500):
        learner = random.normal(0.0, 0.001, 60)
        found = judge(learner + random.normal(0.0, 0.2, 60), learner, {BASE: np.zeros(60)}, 0.001)
        assert found.stale is None


def test_a_distance_of_twice_the_margin_is_told_through_the_rounding() -> None:
    random = np.random.default_rng(2)
    for _ in range(200):
        gap = random.normal(0.0, 0.02, 400)  # of size 0.4, 40 times the rounding
        server, learner, other = random.normal(0.0, 0.01, (3, 400))
        assert judge(server, learner + gap, {BASE: other}, 0.01).stale == BASE
        assert judge(server + gap, learner + gap, {BASE: other}, 0.01).told == {BASE}


def test_a_server_that_stays_behind_is_caught_once_the_distance_has_added_up() -> None:
    canary = begun(0.01)
    first = moved(1.0)
    canary.accept(first, canary.look(first, first))
    assert set(canary.others) == {BASE, PREVIOUS, CONFIRMED}
    caught = []
    for step in range(1, 4):  # each update is too small to be seen: 0.06 < 10 * 0.01; the server serves the first
        learner = moved(1.0 + 0.06 * step)
        found = canary.look(first, learner)
        caught.append(found.stale)
        if found.stale is None:
            canary.accept(learner, found)
    # the first of them lies 0.06 from what was confirmed, the second 0.12
    assert caught == [None, CONFIRMED, CONFIRMED]
