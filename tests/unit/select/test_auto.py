"""The allocation of least variance: against brute force, unbiased, and everything where the budget is all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.rng import Key
from creditree.select.allocation import EarlyShare, Proportional, early_share, neyman_scale, proportional
from creditree.select.auto import MIXED, Allocation, Auto
from creditree.select.base import Completion
from creditree.select.everything import Everything, LossMean
from creditree.tree import Forest
from tests.each_once import each_once, first_of
from tests.forests import KEY, assigned, flat, forests
from tests.unit.select.draws import expectation, simulated

ALLOCATIONS = st.sampled_from(["positions", "tokens"])
MEANS = st.sampled_from(["completions", "tokens"])
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]), min_size=1, max_size=12).map(np.array)


def _advantages(forest: Forest) -> tuple[tuple[np.ndarray | None, ...], ...]:
    return tuple(GroupRelative().assign(tree) for tree in forest)


def test_golden_scale() -> None:
    # Scores 6, 2, 1, 1 and 2 tokens to draw: c = 2/10 makes the first 1.2 > 1, so it is sure; c = (2 - 1) / 4 = 1/4
    # then gives 1/2, 1/4, 1/4: 2 in all.
    assert neyman_scale(np.array([1.0, 6.0, 2.0, 1.0]), 2.0) == 0.25


def test_golden_alpha_and_chance() -> None:
    # 2 tokens at each of 4 positions, squares 8, 4, 2, 1; budget 1/2: 4 of 8 tokens.
    # alpha 0: P = 4/8, V = (2 - 1) * 15 = 15;  alpha 1: P = 2/6, V = (3 - 1) * 7 = 14;  alpha 2: P = 0: refused.
    counts = np.array([2, 2, 2, 2])
    assert early_share(np.array([8.0, 4.0, 2.0, 1.0]), counts, 0.5, 0.1) == EarlyShare(1, 1 / 3)
    # flat squares: 12 against 2 * 9; early tokens are worth nothing more
    assert early_share(np.full(4, 3.0), counts, 0.5, 0.1) == EarlyShare(0, 0.5)


def test_golden_scores_and_rule() -> None:
    # Rewards 1 and 0, no std: A = 1/2, -1/2; G L = 2 * 2, w = 1/4; logprobs -0.1 (v + 1) - 0.01 t (tests/forests.py).
    # Token 2 at t = 0: 1 - exp(-0.3) = 0.2592; token 3: 1 - exp(-0.4) = 0.3297; EOS at t = 1: 1 - exp(-0.21) = 0.1894.
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    advantages = tuple(GroupRelative(std=False).assign(tree) for tree in forest)
    found = [
        Auto().scores(Completion(forest[0], leaf, 2, advantages[0], KEY)) / 0.125 for leaf in range(2)
    ]  # fmt: skip
    assert found[0] == pytest.approx([0.2592, 0.1894], abs=1e-4)
    assert found[1] == pytest.approx([0.3297, 0.1894], abs=1e-4)
    # squares by position: 0.2592^2 + 0.3297^2 = 0.1759 and 2 * 0.1894^2 = 0.0718 (times 1/64). Budget 3/4 of 4 tokens:
    # alpha 0: P = 3/4, V = 1/3 * 0.2477 = 0.0826;  alpha 1: P = 1/2, V = 1 * 0.0718 = 0.0718: alpha 1.
    rule = Auto(0.75).of_step([forest], [advantages]).rule
    assert rule == EarlyShare(1, 0.5)
    assert Auto(0.75).of_step([forest], [advantages]).chosen == {"alpha": 1.0, "probability": 0.5}


@given(SCORES, st.floats(0.05, 1.0))
def test_the_scale_draws_as_many_as_asked_for(scores: np.ndarray, budget: float) -> None:
    scale, expected = neyman_scale(scores, budget * len(scores)), budget * len(scores)
    if np.isinf(scale):
        assert (scores > 0).sum() <= expected
    else:
        assert np.minimum(1.0, scale * scores).sum() == pytest.approx(expected)


@given(SCORES, st.floats(0.05, 1.0), st.sampled_from([0.0, MIXED]))
def test_the_mean_chance_is_the_budget(scores: np.ndarray, budget: float, mixed: float) -> None:
    chance = proportional(scores, budget, mixed).inclusion(scores)
    assert chance.mean() == pytest.approx(budget)
    assert chance.min() >= mixed * budget * (1 - 1e-12)
    assert chance.max() <= 1.0


@given(st.lists(st.floats(0.05, 5.0), min_size=3, max_size=3), st.floats(0.1, 0.9))
def test_no_other_chances_have_less_variance(scores: list[float], budget: float) -> None:
    """Against all chances on a grid of the plane p1 + p2 + p3 = 3 * budget."""
    squares = np.square(scores)
    ours = proportional(np.array(scores), budget, 0.0).inclusion(np.array(scores))
    grid = np.linspace(0.01, 1.0, 60)
    first, second = (axis.ravel() for axis in np.meshgrid(grid, grid))
    third = 3 * budget - first - second
    inside = (third > 0) & (third <= 1)
    chances = np.stack([first, second, third])[:, inside]
    if chances.size:
        others = (squares[:, None] * (1 / chances - 1)).sum(axis=0)
        assert (squares * (1 / ours - 1)).sum() <= others.min() * (1 + 1e-9) + 1e-12


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 4)), min_size=1, max_size=8), st.floats(0.05, 1.0))
def test_no_other_alpha_has_less_variance(profile: list[tuple[float, int]], budget: float) -> None:
    squares, counts = np.array([s for s, _ in profile]), np.array([n for _, n in profile])
    rule = early_share(squares, counts, budget, MIXED)

    def chance_of(alpha: int) -> float:
        return float((budget * counts.sum() - counts[:alpha].sum()) / counts[alpha:].sum())

    def variance_of(alpha: int) -> float:
        return float((1 / chance_of(alpha) - 1) * squares[alpha:].sum())

    allowed = [alpha for alpha in range(len(counts)) if chance_of(alpha) >= MIXED * budget]
    assert rule.probability == pytest.approx(chance_of(rule.alpha))
    assert variance_of(rule.alpha) <= min(map(variance_of, allowed)) + 1e-9
    drawn = counts[: rule.alpha].sum() + rule.probability * counts[rule.alpha :].sum()
    assert drawn == pytest.approx(budget * counts.sum())


@pytest.mark.parametrize(("allocation", "mean"), each_once(["positions", "tokens"], ["completions", "tokens"]))
def test_the_mean_over_all_draws_is_the_full_token_mean(allocation: Allocation, mean: LossMean) -> None:
    forest = (flat([[2, 3, 1], [4, 1]], [1.0, 0.0]),)
    advantages = _advantages(forest)
    select = Auto(0.5, allocation, loss_mean=mean).of_step([forest], [advantages])
    chances = [select.inclusion(Completion(forest[0], leaf, 2, advantages[0], KEY)) for leaf in range(2)]
    found = expectation(select.weigh, forest, advantages, np.concatenate(chances).tolist(), [3, 2])
    full = Everything(loss_mean=mean).weigh(forest, advantages, KEY)[0]
    assert all(ours == pytest.approx(assigned(theirs), abs=1e-13) for ours, theirs in zip(found, full, strict=True))
    assert min(float(chance.min()) for chance in chances) <= 0.5


@pytest.mark.parametrize("allocation", first_of(["positions", "tokens"], 1))
def test_the_mean_over_many_keys_is_the_full_token_mean(allocation: Allocation) -> None:
    forest = (flat([[*([2] * 9), 1], [3, 4, 1]], [1.0, 0.0]), flat([[4, 3, 2, 1], [2, 1]], [0.0, 1.0], kept=[3]))
    advantages = tuple(PrefixGain().assign(tree) for tree in forest)
    select = Auto(0.4, allocation).of_step([forest], [advantages])
    means, errors = simulated(select.weigh, forest, advantages, 4000)
    full = [assigned(values) for tree in Everything().weigh(forest, advantages, KEY) for values in tree]
    for ours, error, expected in zip(means, errors, full, strict=True):
        assert np.abs(ours - expected).max() < 4.5 * max(float(error.max()), 1e-15)


@given(forests(failures=True), ALLOCATIONS, MEANS)
def test_with_the_whole_budget_it_is_everything_to_the_bit(
    forest: Forest, allocation: Allocation, mean: LossMean
) -> None:
    advantages, full = _advantages(forest), Everything(loss_mean=mean)
    select = Auto(1.0, allocation, loss_mean=mean).of_step([forest], [advantages])
    for a, b in zip(*(one.weigh(forest, advantages, KEY) for one in (select, full)), strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None and y is None) or np.array_equal(assigned(x), assigned(y))
    assert select.normaliser([forest], [advantages]) == full.normaliser([forest], [advantages])


def test_without_signal_every_token_has_the_budget_for_a_chance() -> None:
    forest = (flat([[2, 3, 1], [3, 1]], [1.0, 1.0]),)
    advantages = _advantages(forest)
    assert Auto(0.5).of_step([forest], [advantages]).rule == EarlyShare(0, 0.5)
    select = Auto(0.5, "tokens").of_step([forest], [advantages])
    assert isinstance(select.rule, Proportional)
    assert select.rule.inclusion(np.zeros(3)) == pytest.approx([0.5] * 3)
    assert select.chosen == {}  # its scale is infinite, which is no number for a metric


def test_the_whole_step_decides_and_draws_depend_on_the_key() -> None:
    """A problem without signal gives its tokens to one that has some."""
    useful, useless = (flat([[2, 3, 4, 1], [3, 1]], rewards) for rewards in ([1.0, 0.0], [1.0, 1.0]))
    steps = [(useful,), (useless,)]
    select = Auto(0.5, "tokens").of_step(steps, [_advantages(forest) for forest in steps])
    taken = [
        np.mean([(assigned(v) > 0).mean() for s in range(40) for v in select.weigh(f, _advantages(f), Key.of(s))[0]])
        for f in steps
    ]
    assert taken[0] > 0.8
    assert 0.0 < taken[1] < 0.2


@pytest.mark.parametrize("budget", [0.0, 1.2])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    with pytest.raises(ConfigError, match=r"method.budget is .*a share of tokens"):
        Auto(budget)
    with pytest.raises(ConfigError, match=r"method.allocation is 'rows'"):
        Auto(allocation="rows")  # type: ignore[arg-type]
