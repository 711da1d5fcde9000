from itertools import product
from math import prod

import pytest
from scipy.stats import skellam, t, ttest_1samp

from creditree.evaluate.seeds import mean_and_spread, seed_test


def test_spread_is_that_of_a_sample() -> None:
    # (.80, .84, .85): mean .83, squared deviations .0009 + .0001 + .0004 = .0014, over 2 = .0007, root .026458.
    found = mean_and_spread([0.80, 0.84, 0.85])
    assert (found.mean, found.sd) == pytest.approx((0.83, 0.0264575), abs=1e-7)
    assert found.n == 3
    assert mean_and_spread([0.5]).sd is None
    with pytest.raises(ValueError, match="no values"):
        mean_and_spread([])


def test_the_test_over_seeds_is_the_paired_t_test() -> None:
    # mean 2, sd 1, n 3: t = 2 sqrt(3) = 3.4641 with 2 degrees of freedom; p = 1 - t / sqrt(t^2 + 2) = 0.07418
    assert seed_test([1.0, 2.0, 3.0], 0.01) == pytest.approx(1 - 3.4641016 / (12 + 2) ** 0.5, abs=1e-6)
    differences = [0.03, -0.02, 0.11, 0.08, 0.05]
    assert seed_test(differences, 0.01) == pytest.approx(ttest_1samp(differences, 0).pvalue, rel=1e-12)


def test_equal_differences_are_no_certainty() -> None:
    # Two seeds, one problem of 100 each: t = 1 / (1 / sqrt 2) = sqrt 2 with one degree of freedom (Cauchy's law);
    # p = 1 - 2 / pi atan(sqrt 2) = 0.3918.
    assert seed_test([0.01, 0.01], 0.01) == pytest.approx(0.391827, abs=1e-6)
    # Five seeds: t = sqrt 5 = 2.236 with four, p = 0.089: a claim by nobody. Three problems: t = 6.708, p = 0.00257.
    assert seed_test([0.01] * 5, 0.01) == pytest.approx(2 * t.sf(5**0.5, 4)) == pytest.approx(0.0890, abs=1e-4)
    assert seed_test([0.03] * 5, 0.01) == pytest.approx(0.00257, abs=1e-5)
    # In floating point equal differences may differ in their last bits, and one of them by a step: sd 0.45 steps.
    assert seed_test([0.01, 0.3 - 0.29], 0.01) == pytest.approx(0.391827, abs=1e-6)
    # 6 / 5 problems on average: t = 1.2 sqrt 5 = 2.683; by the spread alone 1.2 / 0.447 sqrt 5 = 6, p = 0.0039.
    nearly = [0.01, 0.01, 0.02, 0.01, 0.01]
    assert seed_test(nearly, 0.01) == pytest.approx(2 * t.sf(1.2 * 5**0.5, 4))
    assert ttest_1samp(nearly, 0).pvalue < 0.01 < 0.05 < seed_test(nearly, 0.01)
    assert seed_test([0.0, 0.0], 0.01) == 1.0


@pytest.mark.parametrize("mean", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("seeds", [2, 3])
def test_chance_is_claimed_no_more_often_than_the_level_allows(mean: float, seeds: int) -> None:
    """All tables of counts gained less counts lost, by their chance: both Poisson with one mean, so 0 on average."""
    chances = {count: skellam.pmf(count, mean, mean) for count in range(-8, 9)}
    by_p = [
        (seed_test([count / 100 for count in counts], 0.01), prod(chances[count] for count in counts))
        for counts in product(chances, repeat=seeds)
    ]
    for level in (0.05, 0.01):
        assert sum(chance for p, chance in by_p if p < level) <= level
    if (mean, seeds) == (1.0, 2):
        # P(equal and not 0) = sum of squares but that of 0: equal differences alone had p = 0.
        equal = sum(chance**2 for count, chance in chances.items() if count)
        assert equal == pytest.approx(0.112, abs=0.001)
        assert sum(chance for p, chance in by_p if p < 0.01) == 0


def test_what_cannot_be_tested_is_said() -> None:
    with pytest.raises(ValueError, match="one seed"):
        seed_test([1.0], 0.01)
    with pytest.raises(ValueError, match="no step"):
        seed_test([1.0, 2.0], 0.0)
