"""S-GRPO's selection made unbiased: the chance that a token is taken, and weights that undo it."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.config.load import parse_config
from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.rng import Key
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.tree import Forest
from tests.forests import KEY, assigned, flat, forests
from tests.unit.select.draws import expectation, simulated

RULES = [(0, 0.5, 1), (0, 0.3, 2), (1, 0.7, 2), (2, 0.25, 4), (1, 1.0, 3), (3, 0.5, 9)]


def _advantages(forest: Forest) -> tuple[tuple[np.ndarray | None, ...], ...]:
    return tuple(GroupRelative().assign(tree) for tree in forest)


def test_golden_chances() -> None:
    # alpha 1, P 1/2, k 3: room for 2 later tokens. p = 1; then 1/2 while fewer than 2 can have been taken (t = 1, 2);
    # t = 3: 1/2 Pr(Bin(2, 1/2) < 2) = 1/2 * 3/4;  t = 4: 1/2 Pr(Bin(3, 1/2) < 2) = 1/2 * 4/8.
    assert EarlyAndRandom(1, 0.5, 3).inclusion(5).tolist() == [1.0, 0.5, 0.5, 0.375, 0.25]


def test_golden_weights() -> None:
    # One completion of 4 tokens, G = 2 with the other: 1 / (2 * 4) = 1/8 for each token, over p = 1, 1/2, 1/2, 3/8.
    select = EarlyAndRandom(1, 0.5, 3, "horvitz_thompson")
    forest = (flat([[2, 3, 4, 1], [1]], [1.0, 0.0]),)
    drawn = {
        tuple(assigned(select.weigh(forest, _advantages(forest), Key.of(seed))[0][0]).tolist()) for seed in range(60)
    }
    full = np.array([1 / 8, 1 / 4, 1 / 4, 1 / 3])
    assert all(np.allclose(np.where(np.array(one) > 0, full, 0.0), one) for one in drawn)
    assert {tuple(np.array(one) > 0) for one in drawn} == {
        (True, *later) for later in product((False, True), repeat=3) if sum(later) <= 2
    }


@pytest.mark.parametrize("rule", RULES)
def test_chances_by_enumeration_of_all_masks(rule: tuple[int, float, int]) -> None:
    """The mask sees only which numbers lie below P: 2^8 cases, each with its chance."""
    select, length = EarlyAndRandom(*rule), 8
    chance = select.probability
    found = np.zeros(length)
    for below in product((False, True), repeat=length):
        weight = float(np.prod([chance if one else 1.0 - chance for one in below]))
        found += weight * select.mask(np.where(below, 0.0, 1.0 - 1e-12))
    assert select.inclusion(length) == pytest.approx(found, abs=1e-14)


@given(st.integers(0, 6), st.floats(0.01, 1.0), st.integers(1, 9), st.integers(1, 40))
def test_chances_by_the_binomial_distribution(alpha: int, probability: float, room: int, length: int) -> None:
    from scipy.stats import binom

    later = np.arange(length) - alpha
    expected = np.where(later < 0, 1.0, probability * binom.cdf(room - 1, np.maximum(later, 0), probability))
    found = EarlyAndRandom(alpha, probability, alpha + room).inclusion(length)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert found[: min(length, alpha)].tolist() == [1.0] * min(length, alpha)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule[1] < 1.0])
def test_the_mean_over_all_draws_is_the_full_token_mean(rule: tuple[int, float, int]) -> None:
    select = EarlyAndRandom(*rule, "horvitz_thompson")
    forest = (flat([[2, 3, 4, 1], [3, 4, 4, 3, 1]], [1.0, 0.0]),)
    advantages = _advantages(forest)
    found = expectation(select.weigh, forest, advantages, [rule[1]], [4, 5])
    full = Everything().weigh(forest, advantages, KEY)[0]
    assert all(mean == pytest.approx(assigned(expected), abs=1e-14) for mean, expected in zip(found, full, strict=True))


def test_without_weights_the_mean_over_all_draws_is_another() -> None:
    forest = (flat([[2, 3, 4, 1], [3, 1]], [1.0, 0.0]),)
    found = expectation(EarlyAndRandom(1, 0.5, 2).weigh, forest, _advantages(forest), [0.5], [4, 2])
    assert np.abs(found[0] - 1 / 8).max() > 0.05


def test_the_mean_over_many_keys_is_the_full_token_mean() -> None:
    select = EarlyAndRandom(2, 0.4, 6, "horvitz_thompson")
    forest = (flat([[*([2] * 9), 1], [3, 4, 1]], [1.0, 0.0]), flat([[4, 3, 2, 1], [2, 1]], [0.0, 1.0], kept=[3]))
    advantages = _advantages(forest)
    means, errors = simulated(select.weigh, forest, advantages, 3000)
    full = [assigned(values) for tree in Everything().weigh(forest, advantages, KEY) for values in tree]
    for mean, error, expected in zip(means, errors, full, strict=True):
        assert np.abs(mean - expected).max() < 4.5 * max(float(error.max()), 1e-15)
    assert max(float(error.max()) for error in errors) > 0


@given(forests(failures=True), st.sampled_from([(20, 0.5, 21), (0, 1.0, 20), (3, 1.0, 20)]))
def test_with_room_for_all_it_is_everything_to_the_bit(forest: Forest, rule: tuple[int, float, int]) -> None:
    select = EarlyAndRandom(*rule, "horvitz_thompson")
    given_advantages = _advantages(forest)
    ours, full = (one.weigh(forest, given_advantages, KEY) for one in (select, Everything()))
    for a, b in zip(ours, full, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None and y is None) or np.array_equal(assigned(x), assigned(y))


@pytest.mark.parametrize("settings", [{"alpha": 5, "k": 5}, {"alpha": 5, "k": 0}, {"alpha": 5, "probability": 0.0}])
def test_tokens_without_a_chance_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the chance that a token is taken, which is 0"):
        EarlyAndRandom(**settings, reweight="horvitz_thompson")  # type: ignore[arg-type]
    EarlyAndRandom(**settings)  # type: ignore[arg-type]


def test_a_cap_that_leaves_late_tokens_hardly_a_chance_is_refused_with_the_length() -> None:
    text = "task: multiplication\nmethod: {name: s-grpo, reweight: horvitz_thompson, alpha: 8, k: %d}\n"
    limit = ["sampling.max_new_tokens=64"]
    with pytest.raises(ConfigError, match="a chance of 0;"):  # P = 1: the first 16 surely, and no other
        parse_config(text % 16, "run.yaml", [*limit, "method.probability=1"])
    with pytest.raises(ConfigError, match=r"k = 16 leaves token 64 a chance of .*raise k \(64 is no cap\)"):
        parse_config(text % 16, "run.yaml", limit)
    assert parse_config(text % 64, "run.yaml", limit).method.build().select == EarlyAndRandom(
        8, 0.5, 64, "horvitz_thompson"
    )


def test_an_unknown_reweighting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.reweight is 'inverse'"):
        EarlyAndRandom(reweight="inverse")  # type: ignore[arg-type]
