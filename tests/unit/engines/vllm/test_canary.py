"""Stale weights are told from rounding, by the margin that the docstring states."""

import numpy as np
import pytest

from creditree.engines.vllm.canary import BASE, CONFIRMED, LEAST_NOISE, PREVIOUS, Canary
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


@pytest.mark.parametrize("size", [0.0601, 1.0])
def test_from_six_times_the_rounding_on_base_weights_are_told_from_the_new(size: float) -> None:
    canary = begun(0.01)
    learner = moved(size)
    assert canary.look(BASE_SCORES, learner).stale == BASE
    fresh = canary.look(learner, learner)
    assert fresh.stale is None
    assert fresh.told == {BASE}


def test_below_that_nothing_is_told_and_nothing_is_confirmed() -> None:
    found = begun(0.01).look(BASE_SCORES, moved(0.0599))
    assert found.stale is None
    assert not found.told


def test_half_way_is_the_border() -> None:
    canary, learner = begun(0.01), moved(1.0)
    assert canary.look(0.51 * BASE_SCORES + 0.49 * learner, learner).stale == BASE
    assert canary.look(0.49 * BASE_SCORES + 0.51 * learner, learner).stale is None


def test_at_the_margin_rounding_deceives_once_in_hundreds() -> None:
    canary, learner = begun(0.01), moved(0.0601)
    noise = np.random.default_rng(0).normal(0.0, 0.01, (2000, 4))
    wrong = [canary.look(learner + one, learner).stale is not None for one in noise]
    missed = [canary.look(BASE_SCORES + one, learner).stale is None for one in noise]
    # beyond 1/2 on one side: three standard deviations, 0.13 %
    assert np.mean(wrong) < 0.004
    assert np.mean(missed) < 0.004


def test_a_server_that_stays_behind_is_caught_once_the_distance_has_added_up() -> None:
    canary = begun(0.01)
    first = moved(1.0)
    canary.accept(first, canary.look(first, first))
    assert set(canary.others) == {BASE, PREVIOUS, CONFIRMED}
    caught = []
    for step in range(1, 4):  # each update is too small to be seen: 0.04 < 6 * 0.01; the server serves the first
        learner = moved(1.0 + 0.04 * step)
        found = canary.look(first, learner)
        caught.append(found.stale)
        if found.stale is None:
            canary.accept(learner, found)
    # the first of them lies 0.04 from what was confirmed, the second 0.08
    assert caught == [None, CONFIRMED, CONFIRMED]
