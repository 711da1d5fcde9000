"""What K completions of a problem say of groups of G: against all subsets, and unbiased for fresh ones."""

from itertools import combinations
from math import comb
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.statistics import Estimate, Interval
from creditree.pilot.outlook import (
    Outlook,
    Signal,
    advice,
    best_group,
    best_temperature,
    expected_spread,
    mixed_share,
    outlook,
    seconds_to_detect,
    smallest_gain,
    verdict,
)
from creditree.rng import Key
from creditree.runs.attempts import Attempt

KEY = Key.of(4)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    samples = draw(st.integers(2, 8))
    return draw(st.integers(0, samples)), samples, draw(st.integers(1, samples))


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value, Interval(value if low is None else low, value if high is None else high), 96)


def made(
    temperature: float = 1.0,
    accuracy: float = 0.4,
    mixed: tuple[float, ...] = (0.5, 0.6, 0.7),
    spread: float = 0.3,
    low: float | None = None,
    truncated: float = 0.0,
    unparsable: float = 0.0,
) -> Outlook:
    signals = tuple(Signal(group, estimate(one), spread) for group, one in zip((4, 8, 16), mixed, strict=False))
    best = estimate(0.9)
    return Outlook(temperature, 16, estimate(accuracy, low), best, signals, truncated, unparsable, 50.0, 0.3)


def test_golden_shares() -> None:
    # Two of four right, pairs: 6 pairs, one of two right, one of two wrong: 1 - (1 + 1) / 6 = 2/3.
    assert mixed_share(2, 4, 2) == pytest.approx(2 / 3)
    # One of four right: half of the pairs have it. Groups of all four are mixed.
    assert mixed_share(1, 4, 2) == pytest.approx(1 / 2)
    assert mixed_share(1, 4, 4) == 1.0
    assert mixed_share(0, 4, 2) == mixed_share(4, 4, 2) == mixed_share(2, 4, 1) == 0.0
    # Of the pairs, 2/3 have one of two right, a spread of 1/2: 1/3.
    assert expected_spread(2, 4, 2) == pytest.approx(1 / 3)
    # All four: 3/4 right, sqrt(3/4 * 1/4) = sqrt(3) / 4.
    assert expected_spread(3, 4, 4) == pytest.approx(3**0.5 / 4)


@given(numbers=counts())
def test_they_are_means_over_all_subsets(numbers: tuple[int, int, int]) -> None:
    correct, samples, group = numbers
    rewards = [1] * correct + [0] * (samples - correct)
    groups = list(combinations(rewards, group))
    assert mixed_share(correct, samples, group) == pytest.approx(sum(len(set(one)) > 1 for one in groups) / len(groups))
    assert expected_spread(correct, samples, group) == pytest.approx(sum(pstdev(one) for one in groups) / len(groups))


@given(samples=st.integers(2, 16), group=st.integers(1, 16), p=st.floats(0, 1))
def test_the_mixed_share_is_unbiased_for_fresh_completions(samples: int, group: int, p: float) -> None:
    group = min(group, samples)
    expected = sum(
        comb(samples, c) * p**c * (1 - p) ** (samples - c) * mixed_share(c, samples, group) for c in range(samples + 1)
    )
    assert expected == pytest.approx(1 - p**group - (1 - p) ** group, abs=1e-9)


def judged(corrects: list[int], samples: int) -> Evaluation:
    """Return completions of which the first so many are right; every fourth is cut off, the last is unparsable."""
    return Evaluation.of(
        Attempt(
            f"p{n}", k, float(k < correct), "unparsable" if k == samples - 1 else "ok", None, 10 + k, k % 4 == 0
        )
        for n, correct in enumerate(corrects)
        for k in range(samples)
    )  # fmt: skip


def test_an_outlook_by_hand() -> None:
    # Of eight completions 0, 4 and 8 are right.
    found = outlook(judged([0, 4, 7], 8), 0.7, KEY)
    assert (found.temperature, found.samples) == (0.7, 8)
    assert found.accuracy.value == pytest.approx(11 / 24)
    assert found.best_of.value == pytest.approx(2 / 3)
    assert found.headroom == pytest.approx(2 / 3 - 11 / 24)
    assert [one.group for one in found.signals] == [4, 8]
    # Of C(8, 4) = 70 fours 1 + 1 of the second problem are not mixed, and of the third C(7, 4) = 35.
    assert found.signal(4).mixed.value == pytest.approx((0 + 68 / 70 + 35 / 70) / 3)
    assert found.signal(8).mixed.value == pytest.approx(2 / 3)
    assert found.signal(8).spread == pytest.approx((0 + 1 / 2 + (7 / 64) ** 0.5) / 3)
    # Two of eight are cut off, one has no answer, and they have 10 + ... + 17 tokens: 13.5 on the average.
    assert (found.truncated, found.unparsable, found.tokens) == (0.25, 0.125, 13.5)
    # 2 * 4 * 4 / (8 * 7) and 2 * 7 * 1 / (8 * 7).
    assert found.flips == pytest.approx((0 + 32 / 56 + 14 / 56) / 3)
    assert found.to_json()["headroom"] == found.headroom
    assert found.to_json()["signals"][0]["mixed"].keys() == {"value", "n", "interval"}
    assert outlook(judged([1, 2], 4), 1.0, KEY).signals[-1].group == 4


def test_flips_are_unbiased_for_two_fresh_draws() -> None:
    flips = [outlook(judged([correct], 5), 1.0, KEY).flips for correct in range(6)]
    for p in (0.0, 0.1, 0.5, 0.8, 1.0):
        expected = sum(comb(5, c) * p**c * (1 - p) ** (5 - c) * flips[c] for c in range(6))
        assert expected == pytest.approx(2 * p * (1 - p))


def test_smallest_gain_is_by_the_flips() -> None:
    found = [smallest_gain(one, 200) for one in (made(), outlook(judged([0, 8], 8), 1.0, KEY))]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] > found[1] > 0
    assert smallest_gain(made(), 3) is None


def test_the_coolest_of_nearly_equal_temperatures() -> None:
    cool, warm, hot = made(0.4, spread=0.19), made(0.7, spread=0.241), made(1.0, spread=0.3)
    # 0.8 of 0.3 is 0.24.
    assert best_temperature([cool, warm, hot]) is warm
    assert best_temperature([hot, warm, cool]) is warm
    assert best_temperature([made(0.4, spread=0.24), hot]).temperature == 0.4
    # A temperature at which accuracy falls below half is left out, however large its spread.
    assert best_temperature([cool, warm, made(1.0, accuracy=0.19, spread=0.4)]) is warm
    assert best_temperature([cool, made(1.0, accuracy=0.2, spread=0.4)]).temperature == 1.0
    nothing = [made(one, accuracy=0.0, spread=0.0) for one in (0.7, 0.4)]
    assert best_temperature(nothing).temperature == 0.4


def test_the_smallest_group_with_nearly_all_mixed_ones() -> None:
    # 0.9 of 0.7 is 0.63.
    assert best_group(made(mixed=(0.7, 0.7, 0.7)), 16) == 8
    assert best_group(made(mixed=(0.5, 0.64, 0.7)), 16) == 8
    assert best_group(made(mixed=(0.5, 0.62, 0.7)), 16) == 16
    # Where only groups of 8 fit they are the largest; of four alone too.
    assert best_group(made(mixed=(0.5, 0.6, 0.7)), 15) == 8
    assert best_group(made(mixed=(0.5, 0.6, 0.7)), 7) == 4
    assert best_group(made(mixed=(0.5, 0.6, 0.7)), 2) == 4
    assert best_group(made(mixed=(0.0, 0.0, 0.0)), 16) == 8
    assert best_group(made(mixed=(0.5,)), 16) == 4


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (made(), "works", "60% of the groups of 8 are mixed (60% to 60%), and 50% more of the problems are solved"),
        (made(mixed=(0.1, 0.2, 0.3)), "works", "20% of the groups"),
        (made(mixed=(0.1, 0.19, 0.3)), "weak", "learning will be slow"),
        (made(mixed=(0.1, 0.05, 0.3)), "weak", "5% of the groups"),
        (made(mixed=(0.0, 0.04, 0.0)), "no_signal", "nothing to learn from"),
        (made(accuracy=0.99, low=0.98, mixed=(0.0, 0.01, 0.02)), "solved", "solves 99% already"),
        (made(accuracy=0.99, low=0.97, mixed=(0.0, 0.01, 0.02)), "no_signal", "nothing to learn from"),
    ],
)
def test_verdicts(found: Outlook, kind: str, words: str) -> None:
    said, why = verdict(found, 8)
    assert said == kind
    assert words in why


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (made(truncated=0.51, unparsable=0.6), "51% of the completions are cut off: raise `max_new_tokens`"),
        (made(truncated=0.5, unparsable=0.51), "in 51% of the completions no answer is found: change `prompt`"),
        (made(accuracy=0.0, unparsable=0.5), "take easier problems, a stronger base model"),
        (made(accuracy=0.95), "take harder problems"),
    ],
)
def test_advice(found: Outlook, words: str) -> None:
    assert advice(found).startswith(words)


def test_seconds_until_a_gain_can_be_seen() -> None:
    # 4 points in 60 s: 12 points take 180 s; by the lower end of 1 point 720 s.
    assert seconds_to_detect(0.04, 0.01, 60, 0.12) == pytest.approx((180, 720))
    expected, latest = seconds_to_detect(0.04, -0.01, 60, 0.12)
    assert expected == pytest.approx(180)
    assert latest is None
    assert seconds_to_detect(0.0, -0.01, 60, 0.12) == (None, None)
