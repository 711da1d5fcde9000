"""What may be concluded from an evaluation: intervals, paired differences and exact tests. Pure functions of numbers.

Accuracies and differences are shares in [0, 1] and [-1, 1], not percent. The same problems before and after make
pairs, and pairs are compared as pairs: what a problem's difficulty adds to both sides cancels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri

from creditree.rng import Key

FloatArray = NDArray[np.float64]
_CHUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_json(self) -> list[float]:
        """Return both ends."""
        return [self.low, self.high]

    @classmethod
    def from_json(cls, data: object) -> "Interval":
        """Return what `to_json` made, also as older files have it. Raises KeyError, TypeError or ValueError."""
        if isinstance(data, Mapping):
            data = [data["low"], data["high"]]
        if not isinstance(data, list | tuple) or len(data) != 2:
            raise TypeError(f"an interval is two numbers, not {data!r}")
        return cls(_number(data[0]), _number(data[1]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate from `n` problems, with its interval."""

    value: float
    interval: Interval
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as every record has it."""
        return {"value": self.value, "n": self.n, "interval": self.interval.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Estimate":
        """Return what `to_json` made, also of a file in which the value had a name of its own, or no `n` (0 then).

        Raises KeyError, TypeError or ValueError where it is none.
        """
        name = next((name for name in ("value", *OLDER_NAMES) if name in data), "value")
        return cls(_number(data[name]), Interval.from_json(data["interval"]), int(_number(data.get("n", 0))))


OLDER_NAMES = ("accuracy", "mean_reward", "nats")
"""What files call an estimate's value besides "value": which figure it is, said by each record in its own way."""


@dataclass(frozen=True, slots=True)
class Difference:
    """After minus before on the same `n` problems. `p_value` is two-sided, for "there is no difference".

    `gained` problems are better after, `lost` worse.
    """

    value: float
    interval: Interval
    p_value: float
    n: int
    gained: int
    lost: int

    def to_json(self) -> dict[str, object]:
        """Return the difference as every record has it."""
        return {
            "value": self.value,
            "interval": self.interval.to_json(),
            "p_value": self.p_value,
            "n": self.n,
            "gained": self.gained,
            "lost": self.lost,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], n: int = 0) -> "Difference":
        """Return what `to_json` made; `n` where an older file does not say. Raises as `Estimate.from_json`."""
        counts = (int(_number(data.get(name, default))) for name, default in (("n", n), ("gained", 0), ("lost", 0)))
        return cls(_number(data["value"]), Interval.from_json(data["interval"]), _number(data["p_value"]), *counts)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return successes / n with Wilson's score interval (Wilson 1927, JASA 22:209).

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes / n: the shares that a score test
    does not reject. Stays in [0, 1] and has positive width at p = 0 and 1. Raises ValueError unless 0 <= successes <=
    n, n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: need at least one problem, and at most as many successes")
    p, z = successes / n, _quantile(confidence)
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return Estimate(p, Interval(low, high), n)


def paired_difference(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return the difference of two paired shares, with Newcombe's square-and-add interval and McNemar's exact p-value.

    Newcombe 1998 (Statistics in Medicine 17:2635), method 10. With Wilson limits (l1, u1) of p1 (after) and (l2, u2)
    of p2 (before), d = p1 - p2 and the correlation phi of the pairs:
        low  = d - sqrt((p1-l1)^2 - 2 phi (p1-l1)(u2-p2) + (u2-p2)^2)
        high = d + sqrt((u1-p1)^2 - 2 phi (u1-p1)(p2-l2) + (p2-l2)^2)
    phi = C / sqrt(product of the four margins), 0 if a margin is 0, where C = ad - bc for both right a, both wrong d
    and the changed b and c; a positive ad - bc is taken less n/2, down to 0. Interval and test can disagree at the
    border: the test, being exact, is the more careful one.

    The test is McNemar's (1947, Psychometrika 12:153): of the b + c pairs that changed, c to the better, p = min(1, 2
    P(X <= min(b, c))), X ~ Binomial(b + c, 1/2); without a changed pair p = 1. Raises ValueError where the rows are not
    of equal length, empty, or hold other numbers than 0 and 1.
    """
    both, lost, gained, neither = _table(before, after)
    n = both + lost + gained + neither
    new, old = wilson(both + gained, n, confidence), wilson(both + lost, n, confidence)
    phi = _correlation(both, lost, gained, neither)
    value = (gained - lost) / n
    down = _square_and_add(new.value - new.interval.low, old.interval.high - old.value, phi)
    up = _square_and_add(new.interval.high - new.value, old.value - old.interval.low, phi)
    interval = Interval(max(-1.0, value - down), min(1.0, value + up))
    return Difference(value, interval, _sign_test(lost, gained), n, gained, lost)


def bootstrap_mean(values: ArrayLike, key: Key, confidence: float = 0.95, resamples: int = 10_000) -> Estimate:
    """Return the mean of one number a problem with its percentile bootstrap interval (Efron 1979, Ann. Statist. 7:1).

    For rewards that are not 0/1, or shares of several completions: problems are redrawn, not completions. The same key
    gives the same interval. Raises ValueError for no values, or one that is not finite.
    """
    numbers = finite(values)
    return Estimate(float(numbers.mean()), _bootstrap(numbers, key, confidence, resamples), len(numbers))


def paired_mean_difference(
    before: ArrayLike, after: ArrayLike, key: Key, confidence: float = 0.95, resamples: int = 10_000
) -> Difference:
    """Return the mean of after - before over problems, with a bootstrap interval and a sign-flip p-value.

    The test flips the sign of each problem's difference at random: p = (1 + #{|mean flipped| >= |mean|}) / (1 +
    resamples) (Phipson and Smyth 2010, SAGMB 9:39), so never 0. Raises ValueError as `bootstrap_mean`, or for unequal
    lengths.
    """
    old, new = finite(before), finite(after)
    if len(old) != len(new):
        raise ValueError(f"{len(old)} problems before and {len(new)} after do not make pairs")
    change = new - old
    return Difference(
        value=float(change.mean()),
        interval=_bootstrap(change, key.at("bootstrap"), confidence, resamples),
        p_value=sign_flip_test(change, key.at("flip"), resamples),
        n=len(change),
        gained=int((change > 0).sum()),
        lost=int((change < 0).sum()),
    )


def sign_flip_test(change: FloatArray, key: Key, resamples: int) -> float:
    """Return the two-sided p-value of a sum of changes under random signs: see `paired_mean_difference`."""
    generator, n = key.generator(), len(change)
    # Equal sums can differ in their last bits by the order of addition: a tie counts as reached.
    reach = abs(float(change.sum())) - 1e-12 * float(np.abs(change).sum())
    reached = 0
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        flips = generator.integers(0, 2, size=(min(rows, resamples - start), n)) * 2 - 1
        reached += int((np.abs(flips @ change) >= reach).sum())
    return (1 + reached) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for being several (Holm 1979, Scand. J. Statist. 6:65), in the order given.

    The i-th smallest of m becomes the largest of (m - j + 1) p_j over j <= i, at most 1: the chance of any false
    claim among all of them stays below the level.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _number(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise TypeError(f"{data!r} is not a number")
    return data


def _quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: it lies between 0 and 1, as in 0.95")
    return float(ndtri(0.5 + confidence / 2))


def _table(before: ArrayLike, after: ArrayLike) -> tuple[int, int, int, int]:
    """Return how many pairs are right in both, only before, only after, and in neither."""
    old, new = finite(before), finite(after)
    if len(old) != len(new):
        raise ValueError(f"{len(old)} problems before and {len(new)} after do not make pairs")
    if not (np.isin(old, (0, 1)).all() and np.isin(new, (0, 1)).all()):
        raise ValueError("only 0 and 1 can be counted; use paired_mean_difference for other numbers")
    was, is_now = old == 1, new == 1
    counts = (was & is_now, was & ~is_now, ~was & is_now, ~was & ~is_now)
    both, lost, gained, neither = (int(count.sum()) for count in counts)
    return both, lost, gained, neither


def _sign_test(lost: int, gained: int) -> float:
    return min(1.0, 2.0 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


def _correlation(both: int, lost: int, gained: int, neither: int) -> float:
    n = both + lost + gained + neither
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    surplus = both * neither - lost * gained
    corrected = max(surplus - n / 2, 0.0) if surplus > 0 else float(surplus)
    return corrected / sqrt(margins)


def _square_and_add(one: float, other: float, phi: float) -> float:
    # At phi = 1 and one = other rounding could leave a negative number of the order of 1e-17.
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def finite(values: ArrayLike) -> FloatArray:
    """Return the values in one row. Raises ValueError for none, and for one that is not finite."""
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(numbers) == 0:
        raise ValueError("there are no values: nothing was evaluated")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite: leave out what has no reward, on both sides of a pair")
    return numbers


def _bootstrap(values: FloatArray, key: Key, confidence: float, resamples: int) -> Interval:
    _quantile(confidence)
    generator, n = key.generator(), len(values)
    means = np.empty(resamples)
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        means[start:stop] = values[generator.integers(0, n, size=(stop - start, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
