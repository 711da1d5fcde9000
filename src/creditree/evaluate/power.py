"""What a test can see: how large a gain must be so that a paired test of n problems mostly finds it."""

from math import sqrt

from scipy.special import ndtri

LEVEL = 0.05
"""A difference is claimed where the 95 % interval excludes 0 and p is below this."""
POWER = 0.8
_SMALLEST = 1e-6


def problems_needed(gain: float, discordant: float, level: float = LEVEL, power: float = POWER) -> float:
    """Return how many paired problems find a gain with the given chance, by McNemar's two-sided test.

    n = (z_{1-level/2} sqrt(psi) + z_{power} sqrt(psi - d^2))^2 / d^2 for the gain d (share of problems) and the share
    psi of the problems whose outcome changes, in either direction (Connor 1987, Biometrics 43:207). psi is at least d.
    Raises ValueError unless 0 < gain <= 1 and 0 <= discordant <= 1.
    """
    if not (0 < gain <= 1 and 0 <= discordant <= 1):
        raise ValueError(f"a gain of {gain} with {discordant} of the outcomes changed is none of shares")
    psi = max(gain, discordant)
    z_level, z_power = float(ndtri(1 - level / 2)), float(ndtri(power))
    return float((z_level * sqrt(psi) + z_power * sqrt(psi - gain * gain)) ** 2 / (gain * gain))


def detectable_gain(n: int, flips: float, level: float = LEVEL, power: float = POWER) -> float | None:
    """Return the smallest gain that `n` problems find with the given chance; None where not even a gain of 1 is found.

    `flips` is the share of problems whose outcome would change without any gain, by chance alone: for a completion
    sampled anew, the mean of 2 p (1 - p) over problems. A gain d adds its own changes: psi = min(1, flips + d).
    Raises ValueError unless n >= 1 and 0 <= flips <= 1.
    """
    if n < 1 or not 0 <= flips <= 1:
        raise ValueError(f"{n} problems of which {flips} change by chance: need at least one, and a share")

    def found(gain: float) -> bool:
        return problems_needed(gain, min(1.0, flips + gain), level, power) <= n

    if not found(1.0):
        return None
    low, high = _SMALLEST, 1.0
    while high - low > _SMALLEST:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
