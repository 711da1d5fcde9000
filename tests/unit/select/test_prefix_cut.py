"""Random prefix cutting: its chances, its weights, and that nothing after the cut is forwarded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.batch import pack
from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.select.everything import Everything, LossMean
from creditree.select.prefix_cut import PrefixCut
from creditree.tree import Forest
from tests.forests import KEY, assigned, flat, forests
from tests.unit.select.draws import GivenNumbers, expectation, simulated


def _advantages(forest: Forest) -> tuple[tuple[np.ndarray | None, ...], ...]:
    return tuple(GroupRelative().assign(tree) for tree in forest)


def test_golden_chances() -> None:
    # L 5, m 2: c is one of 2, 3, 4, 5. P(c > 0) = P(c > 1) = 1, P(c > 2) = 3/4, P(c > 3) = 2/4, P(c > 4) = 1/4.
    assert PrefixCut(2).survival(5).tolist() == [1.0, 1.0, 0.75, 0.5, 0.25]
    assert PrefixCut(9).survival(3).tolist() == [1.0, 1.0, 1.0]


def test_golden_weights() -> None:
    # G = 2, L = 4 and 1: w = 1/8. m = 1: p = 1, 3/4, 2/4, 1/4. u = 0.6 lies below the first two: c = 2.
    forest = (flat([[2, 3, 4, 1], [1]], [1.0, 0.0]),)
    weights = PrefixCut().weigh(forest, _advantages(forest), GivenNumbers([[0.6], [0.6]]))[0]
    assert assigned(weights[0]) == pytest.approx([1 / 8, 1 / 6, 0.0, 0.0], abs=1e-16)
    assert assigned(weights[1]).tolist() == [0.5]


@pytest.mark.parametrize(("min_cut", "mean"), [(1, "completions"), (2, "tokens"), (4, "completions")])
def test_the_mean_over_all_draws_is_the_full_token_mean(min_cut: int, mean: LossMean) -> None:
    select = PrefixCut(min_cut, loss_mean=mean)
    forest = (flat([[2, 3, 4, 1], [3, 4, 4, 3, 2, 1]], [1.0, 0.0]),)
    advantages = _advantages(forest)
    steps = [chance for length in (4, 6) for chance in select.survival(length).tolist()]
    found = expectation(select.weigh, forest, advantages, steps, [1, 1])
    full = Everything(loss_mean=mean).weigh(forest, advantages, KEY)[0]
    assert all(ours == pytest.approx(assigned(expected), abs=1e-14) for ours, expected in zip(found, full, strict=True))


def test_the_mean_over_many_keys_is_the_full_token_mean() -> None:
    forest = (flat([[*([2] * 9), 1], [3, 4, 1]], [1.0, 0.0]), flat([[4, 3, 2, 1], [2, 1]], [0.0, 1.0], kept=[3]))
    advantages = _advantages(forest)
    means, errors = simulated(PrefixCut(2).weigh, forest, advantages, 3000)
    full = [assigned(values) for tree in Everything().weigh(forest, advantages, KEY) for values in tree]
    for ours, error, expected in zip(means, errors, full, strict=True):
        assert np.abs(ours - expected).max() < 4.5 * max(float(error.max()), 1e-15)


@given(forests(failures=True), st.integers(1, 4))
def test_a_first_part_learns_and_no_less_than_asked_for(forest: Forest, min_cut: int) -> None:
    for tree, field in zip(forest, PrefixCut(min_cut).weigh(forest, _advantages(forest), KEY), strict=True):
        for leaf in tree.rewarded:
            taken = assigned(field[leaf]) > 0
            cut = int(taken.sum())
            assert taken[:cut].all()
            assert cut >= min(min_cut, len(taken))


@given(forests(failures=True), st.sampled_from(["completions", "tokens"]))
def test_with_the_least_cut_at_the_end_it_is_everything_to_the_bit(forest: Forest, mean: LossMean) -> None:
    advantages = _advantages(forest)
    ours, full = PrefixCut(6, loss_mean=mean), Everything(loss_mean=mean)
    for a, b in zip(*(one.weigh(forest, advantages, KEY) for one in (ours, full)), strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None and y is None) or np.array_equal(assigned(x), assigned(y))
    assert ours.normaliser([forest], [advantages]) == full.normaliser([forest], [advantages])


def test_what_lies_after_the_cut_is_not_forwarded() -> None:
    # Prompt of 3; cut after 2 of 4 tokens: the second is predicted by the first, so 3 + 1 tokens go through the layers.
    forest = (flat([[2, 3, 4, 1], [4, 1]], [1.0, 0.0]),)
    advantages = _advantages(forest)
    weights = PrefixCut().weigh(forest, advantages, GivenNumbers([[0.6], [0.6]]))
    batch = pack([forest], [advantages], [weights], keep_zero_advantage=False)
    assert batch.num_terms == 3
    assert batch.token_ids.tolist() == [7, 8, 9, 2]


def test_a_cut_before_the_first_token_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.min_cut is 0: set 1 or more"):
        PrefixCut(0)
