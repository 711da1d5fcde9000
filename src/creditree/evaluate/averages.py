"""Unweighted averages over several sets of problems, each with its own estimate."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from creditree.evaluate.statistics import Difference, Estimate, Interval, sign_flip_test
from creditree.rng import Key


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates, each set of problems counting the same, with a 95 % interval.

    The margins of the T estimates are squared and added (Zou and Donner 2008, Statistics in Medicine 27:1693):
        low = mean - sqrt(sum (value - low)^2) / T,  high = mean + sqrt(sum (high - value)^2) / T
    `n` is the number of all problems. Raises ValueError for none.
    """
    if not estimates:
        raise ValueError("there is no estimate to average")
    value, interval = _combined([(estimate.value, estimate.interval) for estimate in estimates])
    return Estimate(value, interval, sum(estimate.n for estimate in estimates))


def average_difference(
    differences: Sequence[Difference], changes: Sequence[ArrayLike], key: Key, resamples: int = 10_000
) -> Difference:
    """Return the mean of the differences of T sets, with the interval of `average` and a sign-flip p-value.

    `changes` holds each set's after - before, one number a problem. The test flips signs problem by problem, in all
    sets together, and its statistic is the unweighted mean of the sets' means: a problem of a set of n counts
    1 / (T n). Raises ValueError for none, or where changes and differences do not belong together.
    """
    if not differences or len(differences) != len(changes):
        raise ValueError(f"{len(differences)} differences and {len(changes)} sets of changes do not belong together")
    value, interval = _combined([(difference.value, difference.interval) for difference in differences])
    arrays = [np.asarray(change, dtype=np.float64) for change in changes]
    weighted = np.concatenate([change / (len(arrays) * len(change)) for change in arrays])
    return Difference(
        value,
        interval,
        sign_flip_test(weighted, key.at("flip"), resamples),
        n=len(weighted),
        gained=int((weighted > 0).sum()),
        lost=int((weighted < 0).sum()),
    )


def _combined(parts: Sequence[tuple[float, Interval]]) -> tuple[float, Interval]:
    value = sum(part for part, _ in parts) / len(parts)
    down = sqrt(sum((part - interval.low) ** 2 for part, interval in parts)) / len(parts)
    up = sqrt(sum((interval.high - part) ** 2 for part, interval in parts)) / len(parts)
    return value, Interval(value - down, value + up)
