"""Has accuracy fallen below a stored baseline? A test that stays valid however often it is looked at.

A test martingale by betting (Waudby-Smith and Ramdas, arXiv 2010.09686). Under the hypothesis "accuracy is at least q"
a gambler who bets on wrong answers cannot expect to win; whoever has become `threshold` times as rich has seen what
happens with a chance of at most 1 / `threshold`, over all times together (Ville's inequality). Everything here is
about one number a problem in [0, 1]: the share of its completions that are correct.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, exp, log, log1p
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

FloatArray = NDArray[np.float64]

FRACTIONS = tuple(0.9 * (2 / 3) ** step for step in range(10))
"""The bets, as shares f of the largest one. Bet f grows fastest where accuracy has become (1 - f) q, so the grid holds
relative drops from 2.3 % to 90 %; a drop between two of them, or up to 97 %, costs at most 11 % of the rate. The grid
is ours."""
RESERVE = 0.5
"""The share of the first wealth that is kept for gamblers who begin with later calls: ours."""


def clopper_pearson_lower(successes: int, n: int, level: float) -> float:
    """Return the one-sided lower confidence bound of a share: the truth lies below it with a chance of at most `level`.

    Clopper and Pearson 1934 (Biometrika 26:404): the p at which P(X >= successes) = level, X ~ Binomial(n, p), which
    is the `level` quantile of Beta(successes, n - successes + 1); 0 without a success. Raises ValueError unless
    0 <= successes <= n, n >= 1 and 0 < level < 1.
    """
    if n < 1 or not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(f"{successes} successes of {n} at level {level}: they give no bound")
    return 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, level))


@dataclass(frozen=True, slots=True)
class DropTest:
    """The hypothesis "accuracy on fresh problems is at least the baseline's, less `margin`", tested at level `alpha`.

    Half of alpha pays for not knowing the baseline's true accuracy (its lower bound stands in for it), half for the
    test; so the chance that the alarm is ever raised while the hypothesis holds is at most alpha (union bound).
    """

    successes: int
    n: int
    margin: float = 0.0
    alpha: float = 0.05

    @property
    def lower_bound(self) -> float:
        """The baseline's lower confidence bound at level alpha / 2."""
        return clopper_pearson_lower(self.successes, self.n, self.alpha / 2)

    @property
    def tolerated(self) -> float:
        """The least accuracy that is no degradation, q = lower bound - margin. Not above 0: nothing could be."""
        return self.lower_bound - self.margin

    @property
    def threshold(self) -> float:
        """The evidence that raises the alarm, 2 / alpha."""
        return 2 / self.alpha

    def begin(self, fractions: Sequence[float] = FRACTIONS) -> "Evidence":
        """Return the evidence before any observation. Raises ValueError unless 0 < q < 1."""
        return Evidence.begin(self.tolerated, self.threshold, fractions, RESERVE)


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """The wealth of gamblers against "the mean is at least q" after n values x_i in [0, 1].

        M_c = (1/J) sum_j prod_i (1 + lambda_j (q - x_i)),   lambda_j = fractions_j / (1 - q),   0 < fractions_j < 1
        E_n = (1 - r) M_1 + sum_{c=2..C} r / (c (c - 1)) M_c + r / C

    One gambler begins with each call; the c-th bets on the values from call c on, so that good values of long ago do
    not have to be outweighed where the model has become worse since. r is the `reserve` for all but the first, r / C
    what those to come have. Each factor is positive and has a mean of at most 1 under the hypothesis, so every M_c, and
    E_n, is a non-negative supermartingale that starts at 1. Within a call E_n does not depend on the order of the
    values; when it first reaches the threshold does.
    """

    q: float
    threshold: float
    fractions: FloatArray
    log_products: FloatArray = field(repr=False)
    """log of the product of each gambler and bet, shape (C, J)."""
    reserve: float = 0.0
    log_peak: float = 0.0
    """The largest log E so far, counting the start."""
    n: int = 0
    alarm_at: int | None = None
    """How many values there were when E first reached the threshold; None: it never did."""

    @classmethod
    def begin(cls, q: float, threshold: float, fractions: Sequence[float] = FRACTIONS, reserve: float = 0.0) -> Self:
        """Return E_0 = 1, at the first call.

        Raises ValueError unless 0 < q < 1, threshold > 1, all fractions lie in (0, 1) and reserve in [0, 1).
        """
        bets = np.asarray(fractions, dtype=np.float64)
        usable = len(bets) > 0 and bool(((bets > 0) & (bets < 1)).all())
        if not 0 < q < 1 or not threshold > 1 or not usable or not 0 <= reserve < 1:
            raise ValueError(f"q is {q}, the threshold {threshold}, the fractions {fractions}: they make no test")
        return cls(q, threshold, bets, np.zeros((1, len(bets))), reserve)

    def next_call(self) -> Self:
        """Return the evidence with one more gambler, who bets from here on. E_n is the same."""
        if self.reserve == 0:
            return self
        return replace(self, log_products=np.vstack([self.log_products, np.zeros(len(self.fractions))]))

    def after(self, values: ArrayLike) -> Self:
        """Return the evidence after some more values, looked at after each. Raises ValueError for one not in [0, 1]."""
        observed = np.asarray(values, dtype=np.float64).reshape(-1)
        if not ((observed >= 0) & (observed <= 1)).all():
            raise ValueError("a value lies outside [0, 1]: it is no share of correct completions")
        if len(observed) == 0:
            return self
        steps = np.log1p(np.outer(self.q - observed, self.fractions / (1 - self.q)))
        products = self.log_products + np.cumsum(steps, axis=0)[:, None]
        logs = self._log_evidence(products)
        reached = np.flatnonzero(logs >= log(self.threshold))
        first = self.n + int(reached[0]) + 1 if len(reached) else None
        return replace(
            self,
            log_products=products[-1],
            log_peak=max(self.log_peak, float(logs.max())),
            n=self.n + len(observed),
            alarm_at=self.alarm_at if self.alarm_at is not None else first,
        )

    @property
    def e_value(self) -> float:
        """E_n now, cut off at e^700 so that it stays a number."""
        return exp(min(700.0, float(self._log_evidence(self.log_products[None])[0])))

    @property
    def p_value(self) -> float:
        """The anytime p-value min(1, 1 / threshold + 1 / max_n E_n), at most alpha exactly where the alarm was raised.

        1 / threshold = alpha / 2 is the chance that the baseline's bound is wrong, which no evidence makes smaller.
        """
        return min(1.0, 1 / self.threshold + exp(-self.log_peak))

    def problems_to_detect(self, accuracy: float) -> int | None:
        """Return an upper bound of how many more problems it takes on average until the alarm, at a true `accuracy`.

        The alarm comes no later than one bet of one gambler, of weight w_c, alone reaching J / w_c times the threshold;
        with its growth a problem, g_j = accuracy log(1 - f_j) + (1 - accuracy) log(1 + f_j q / (1 - q)), Wald's
        identity gives min_{c,j} (log(J threshold / w_c) - log product_{c,j} + log(1 + f_j q / (1 - q))) / g_j over
        g_j > 0: the last term is the most by which a step can overshoot. The gambler of the next call is among them.
        Over all f, the largest g is KL(accuracy || q), at f = 1 - accuracy / q. Exact for 0/1; shares between 0 and 1
        grow at least as fast (the logarithm is concave). 0 where the alarm was raised; None where accuracy is so near
        q, or above it, that no bet grows. Raises ValueError for an accuracy outside [0, 1].
        """
        if not 0 <= accuracy <= 1:
            raise ValueError(f"an accuracy of {accuracy} is none: it lies between 0 and 1")
        if self.alarm_at is not None:
            return 0
        goal = log(self.threshold) + log(len(self.fractions))
        ahead = self.next_call().log_products
        best = (_log_weights(len(ahead), self.reserve)[:, None] + ahead).max(axis=0)
        counts = []
        for share, product in zip(self.fractions.tolist(), best.tolist(), strict=True):
            wrong = log1p(share * self.q / (1 - self.q))
            growth = accuracy * log1p(-share) + (1 - accuracy) * wrong
            if growth > 0:
                counts.append((goal - product + wrong) / growth)
        return ceil(min(counts)) if counts else None

    def _log_evidence(self, products: FloatArray) -> FloatArray:
        """Return log E for each of several states [n, C, J] of the products."""
        gamblers = _log_mean_exp(products) + _log_weights(products.shape[1], self.reserve)
        if self.reserve == 0:
            return gamblers[:, 0]
        waiting = np.full((len(products), 1), log(self.reserve / products.shape[1]))
        return _log_sum_exp(np.hstack([gamblers, waiting]))


def _log_weights(gamblers: int, reserve: float) -> FloatArray:
    """Return log w_c: 1 - r for the first gambler, r / (c (c - 1)) for the c-th."""
    if gamblers == 1:
        return np.array([log1p(-reserve)])
    later = np.arange(2, gamblers + 1)
    return np.concatenate([[log1p(-reserve)], log(reserve) - np.log(later * (later - 1.0))])


def _log_sum_exp(logs: FloatArray) -> FloatArray:
    """Return the log of the sum of exp over the last axis."""
    top = logs.max(axis=-1)
    sums: FloatArray = top + np.log(np.exp(logs - top[..., None]).sum(axis=-1))
    return sums


def _log_mean_exp(logs: FloatArray) -> FloatArray:
    """Return the log of the mean of exp over the last axis."""
    return _log_sum_exp(logs) - log(logs.shape[-1])
