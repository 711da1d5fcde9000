from fractions import Fraction
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from creditree.evaluate.statistics import (
    Difference,
    Estimate,
    bootstrap_mean,
    holm,
    paired_difference,
    paired_mean_difference,
    wilson,
)
from creditree.rng import Key

KEY = Key.of(3)


def pairs(both: int, lost: int, gained: int, neither: int) -> tuple[list[int], list[int]]:
    before = [1] * (both + lost) + [0] * (gained + neither)
    after = [1] * both + [0] * lost + [1] * gained + [0] * neither
    return before, after


COUNTS = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda counts: sum(counts) > 0)


def test_wilson_is_the_published_example() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81/263 has 0.2553 to 0.3662, 15/148 has 0.0624
    # to 0.1605, 0/20 has 0 to 0.1611, 1/29 has 0.0061 to 0.1718.
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(successes, n)
        assert (found.value, found.n) == (successes / n, n)
        assert (round(found.interval.low, 4), round(found.interval.high, 4)) == (low, high)


@given(n=st.integers(1, 500), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_is_scipys_and_mirrors(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    found = wilson(successes, n, confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose((found.interval.low, found.interval.high), (expected.low, expected.high), atol=1e-12)
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1
    mirrored = wilson(n - successes, n, confidence).interval
    np.testing.assert_allclose(
        (mirrored.low, mirrored.high), (1 - found.interval.high, 1 - found.interval.low), atol=1e-12
    )


def test_wilson_ends_where_the_score_test_does() -> None:
    p, n, z = 7 / 30, 30, norm.ppf(0.975)

    def score(share: float) -> float:
        return float(abs(p - share) / sqrt(share * (1 - share) / n) - z)

    found = wilson(7, 30).interval
    np.testing.assert_allclose(found.low, brentq(score, 1e-9, p), rtol=1e-9)
    np.testing.assert_allclose(found.high, brentq(score, p, 1 - 1e-9), rtol=1e-9)


def test_mcnemar_is_the_published_example() -> None:
    # Bentur et al. 2009 as in Fagerland, Lydersen and Laake (2013, BMC Med. Res. Methodol. 13:91): of 21 patients 7
    # changed one way and 1 the other. 2 (C(8,0) + C(8,1)) / 2^8 = 18/256 = 0.0703.
    assert paired_difference(*pairs(1, 1, 7, 12)).p_value == pytest.approx(18 / 256, rel=1e-14)
    assert paired_difference(*pairs(5, 0, 0, 5)).p_value == 1.0
    assert paired_difference(*pairs(0, 3, 3, 0)).p_value == 1.0


@given(COUNTS)
def test_mcnemar_is_a_sum_of_binomials_and_does_not_know_the_direction(counts: tuple[int, int, int, int]) -> None:
    before, after = pairs(*counts)
    changed, fewer = counts[1] + counts[2], min(counts[1], counts[2])
    exact = min(Fraction(1), 2 * Fraction(sum(comb(changed, k) for k in range(fewer + 1)), 2**changed))
    assert paired_difference(before, after).p_value == pytest.approx(float(exact), rel=1e-10)
    assert paired_difference(after, before).p_value == paired_difference(before, after).p_value


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Complete response before and after consolidation (Cavo et al. 2012), 161 patients: the test suite of the R
        # package contingencytables (Fagerland, Lydersen and Laake) has -0.0621 (-0.1186 to -0.0046) for [[59, 6],
        # [16, 80]].
        ((59, 16, 6, 80), (-0.0621, -0.1186, -0.0046)),
        # By hand, n = 21, phi: 1*12 - 1*7 = 5 < 21/2, so 0. Wilson of 2/21: 0.0265 to 0.2891, of 8/21: 0.2075 to
        # 0.5912. d = -6/21 = -0.2857; low = d - sqrt((0.0952-0.0265)^2 + (0.5912-0.3810)^2) = -0.2857 - 0.2211 =
        # -0.5069; high = d + sqrt((0.2891-0.0952)^2 + (0.3810-0.2075)^2) = -0.2857 + 0.2601 = -0.0256.
        ((1, 7, 1, 12), (-0.2857, -0.5069, -0.0256)),
    ],
)
def test_newcombe_is_the_published_example(
    counts: tuple[int, int, int, int], expected: tuple[float, float, float]
) -> None:
    found = paired_difference(*pairs(*counts))
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx(expected, abs=1e-4)
    assert (found.n, found.lost, found.gained) == (sum(counts), counts[1], counts[2])


@given(COUNTS)
def test_newcombe_turns_with_the_direction_and_stays_inside(counts: tuple[int, int, int, int]) -> None:
    before, after = pairs(*counts)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.value == pytest.approx(np.mean(after) - np.mean(before), abs=1e-12)
    assert back.value == -there.value
    assert (back.interval.low, back.interval.high) == pytest.approx(
        (-there.interval.high, -there.interval.low), abs=1e-9
    )
    assert -1 <= there.interval.low <= there.value <= there.interval.high <= 1
    wider = paired_difference(before, after, confidence=0.99).interval
    assert wider.low <= there.interval.low
    assert wider.high >= there.interval.high


def test_newcombe_covers_about_as_often_as_it_says() -> None:
    # 100 pairs with shares .3 (both), .1 (lost), .25 (gained), .35: the true difference is .15. 2,000 draws, so the
    # standard error of the coverage is sqrt(.95 * .05 / 2000) = .005.
    rng = np.random.default_rng(0)
    draws = rng.multinomial(100, [0.3, 0.1, 0.25, 0.35], size=2000)
    covered = [0.15 in paired_difference(*pairs(*map(int, counts))).interval for counts in draws]
    assert 0.935 < np.mean(covered) < 0.97


def test_pairs_tell_more_than_two_separate_samples() -> None:
    before, after = pairs(40, 2, 12, 46)
    paired = paired_difference(before, after).interval
    shuffled = np.random.default_rng(1).permutation(after)
    unpaired = paired_difference(before, shuffled).interval
    assert paired.high - paired.low < 0.75 * (unpaired.high - unpaired.low)


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ([], [], "nothing was evaluated"),
        ([1], [1, 0], "do not make pairs"),
        ([0.5], [1], "only 0 and 1"),
        ([np.nan], [1], "not finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(before: list[float], after: list[float], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        paired_difference(before, after)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="need at least one problem"):
        wilson(successes, n)
    with pytest.raises(ValueError, match=r"as in 0\.95"):
        wilson(1, 2, confidence=95)


def test_bootstrap_agrees_with_the_normal_theory_and_repeats() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.2, size=400)
    found = bootstrap_mean(values, KEY)
    half = norm.ppf(0.975) * values.std() / sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.n == 400
    assert found.interval.low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert found.interval.high == pytest.approx(values.mean() + half, abs=0.08 * half)
    assert bootstrap_mean(values, KEY) == found
    assert bootstrap_mean(values, Key.of(4)) != found


def test_bootstrap_of_few_values_is_the_exact_one() -> None:
    # Of (0, 0, 1), 27 equally likely resamples have means 0, 1/3, 2/3, 1 with chances 8, 12, 6, 1 in 27: the 2.5 %
    # point of the distribution is 0, the 97.5 % point is 1 (26/27 = .963 lie below it); the 90 % interval ends at 2/3
    # (.95 < .963).
    assert bootstrap_mean([0, 0, 1], KEY).interval.low == 0
    assert bootstrap_mean([0, 0, 1], KEY).interval.high == 1
    assert bootstrap_mean([0, 0, 1], KEY, confidence=0.9).interval.high == pytest.approx(2 / 3)


def test_sign_flips_are_the_exact_permutation_test() -> None:
    before, after = [0.0, 0.25, 0.5, 0.0, 0.5, 0.75], [0.25, 1.0, 0.25, 0.5, 0.75, 1.0]
    change = np.subtract(after, before)
    flips = np.array(list(product((-1, 1), repeat=6)))
    exact = np.mean(np.abs(flips @ change) >= abs(change.sum()) - 1e-12)
    found = paired_mean_difference(before, after, KEY, resamples=40_000)
    # The standard error of a share near .16 over 40,000 draws is .0018.
    assert found.p_value == pytest.approx(exact, abs=0.006)
    assert found.value == pytest.approx(change.mean())
    assert (found.n, found.gained, found.lost) == (6, 5, 1)
    assert found.value in found.interval


def test_no_change_is_no_evidence_and_great_change_is_never_certain() -> None:
    same = paired_mean_difference([0.5, 0.25], [0.5, 0.25], KEY)
    assert (same.value, same.interval.low, same.interval.high, same.p_value) == (0, 0, 0, 1)
    great = paired_mean_difference(np.zeros(50), np.ones(50), KEY, resamples=999)
    assert great.p_value == 1 / 1000
    with pytest.raises(ValueError, match="do not make pairs"):
        paired_mean_difference([1], [1, 2], KEY)


def test_many_problems_do_not_need_much_memory() -> None:
    values = np.arange(3_000_000) % 2
    assert bootstrap_mean(values, KEY, resamples=2).value == 0.5


def test_holm_is_the_worked_example() -> None:
    # .01 * 4 = .04; .02 * 3 = .06; .03 * 2 = .06; .04 * 1 = .04, raised to .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_estimate_has_one_form_and_older_ones_are_read() -> None:
    estimate = wilson(3, 4)
    assert Estimate.from_json(estimate.to_json()) == estimate
    low, high = estimate.interval.low, estimate.interval.high
    for name in ("accuracy", "mean_reward", "nats"):
        assert Estimate.from_json({name: 0.75, "n": 4, "interval": [low, high]}) == estimate
    assert Estimate.from_json({"value": 0.75, "n": 4, "interval": {"low": low, "high": high}}) == estimate
    change = paired_difference([0, 1, 0, 1], [1, 1, 0, 1])
    assert Difference.from_json(change.to_json()) == change
    with pytest.raises(TypeError, match="two numbers"):
        Estimate.from_json({"value": 1.0, "interval": [0.0]})
    with pytest.raises(TypeError, match="True is not a number"):
        Estimate.from_json({"value": True, "interval": [0.0, 1.0]})
