"""What runs that differ in their seed say: mean and spread, and whether a difference would be seen with other seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from creditree.evaluate.statistics import finite


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation (ddof = 1; None for one value) of `n` runs that differ in their seed."""

    mean: float
    sd: float | None
    n: int


def mean_and_spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of the runs' results. Raises ValueError for none."""
    numbers = finite(values)
    return Spread(float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None, len(numbers))


def seed_test(differences: Sequence[float], resolution: float) -> float:
    """Return the two-sided p-value of Student's paired t-test (1908, Biometrika 6:1): no difference in other seeds.

    t = mean / (max(sd, resolution) / sqrt(n)) with n - 1 degrees of freedom; all zeros have p = 1. `resolution` is the
    step in which differences are seen, 1 / problems for accuracies: steps hide any spread that is smaller, so equal
    differences are no sign that seeds do not matter. The floor is ours. Without it, problems that change by chance (one
    gained and one lost on average, by Poisson's law) are a difference at p < .01 for 11 % of all pairs of seeds; with
    it, for none (tests/unit/evaluate/test_seeds.py).

    Raises ValueError for fewer than two, and for a resolution that is not positive.
    """
    numbers = finite(differences)
    if len(numbers) < 2:
        raise ValueError("one seed has no spread")
    if not resolution > 0:
        raise ValueError(f"a resolution of {resolution} is no step: it is 1 / problems for accuracies")
    t = numbers.mean() / (max(numbers.std(ddof=1), resolution) / np.sqrt(len(numbers)))
    return float(2 * stdtr(len(numbers) - 1, -abs(t)))
