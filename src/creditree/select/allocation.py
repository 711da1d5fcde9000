"""How often to draw which token: the allocation of least variance for an expected number of tokens (Neyman, 1934)."""

from dataclasses import dataclass

import numpy as np

from creditree.tree import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class EarlyShare:
    """Tokens before offset `alpha` are drawn surely, later ones with `probability`."""

    alpha: int
    probability: float

    def inclusion(self, scores: FloatArray) -> FloatArray:
        """Return the chances [L] of the tokens of a completion."""
        return np.where(np.arange(len(scores)) < self.alpha, 1.0, self.probability)


@dataclass(frozen=True, slots=True)
class Proportional:
    """A token of score s > 0 is drawn with chance even + (1 - mixed) min(1, scale s), one of score 0 with even + rest.

    `even` is the part that all tokens have alike; `scale` may be infinite.
    """

    scale: float
    rest: float
    even: float
    mixed: float

    def inclusion(self, scores: FloatArray) -> FloatArray:
        """Return the chances [L] of tokens of scores s [L]."""
        positive = scores > 0
        by_score = np.where(positive, np.minimum(1.0, np.where(positive, scores, 1.0) * self.scale), self.rest)
        return np.minimum(1.0, self.even + (1.0 - self.mixed) * by_score)


def neyman_scale(scores: FloatArray, expected: float) -> float:
    """Return c with sum_t min(1, c s_t) = `expected`, over scores s [N] >= 0; infinite where no c reaches it.

    p_t = min(1, c s_t) makes sum_t s_t^2 (1 / p_t - 1) least among all chances p with sum_t p_t = `expected`: the
    variance of a Horvitz-Thompson sum of N terms of size s_t that are drawn independently. The m tokens of the highest
    scores are sure, and c = (expected - m) / (sum of the other scores), for the first m with which no other exceeds 1.
    """
    ranked = np.sort(scores[scores > 0])[::-1]
    if expected >= len(ranked):
        return float("inf")
    below = np.cumsum(ranked[::-1])[::-1]
    scales = (expected - np.arange(len(ranked))) / below
    return float(scales[np.argmax(scales * ranked <= 1.0 + 1e-12)])


def proportional(scores: FloatArray, budget: float, mixed: float) -> Proportional:
    """Return the allocation of the share `budget` of N tokens by their scores [N]: mean chance `budget`, exactly.

    A part `mixed` of it goes to all tokens evenly, so that none has a chance below mixed * budget, and no weight is
    above 1 / mixed times that of even chances, however wrong the scores are (a defensive mixture: Hesterberg 1995).
    What the scores leave over, where few are above 0, goes to the others evenly.
    """
    expected, above = budget * len(scores), int((scores > 0).sum())
    scale = neyman_scale(scores, expected)
    left = expected - above if np.isinf(scale) else 0.0
    return Proportional(scale, left / max(1, len(scores) - above), mixed * budget, mixed)


def early_share(squares: FloatArray, counts: IntArray, budget: float, mixed: float) -> EarlyShare:
    """Return the alpha and P of least variance that draw a share `budget` of N tokens in the mean.

    `counts` [T]: tokens at each position;  `squares` [T]: the sum of their squared scores, which is also the variance
    that position t adds, times 1 / p - 1. With B = budget N tokens to draw, E(alpha) of them before alpha, and N -
    E(alpha) after it,

        P(alpha) = (B - E(alpha)) / (N - E(alpha)),   V(alpha) = (1 / P(alpha) - 1) sum_{t >= alpha} squares_t

    and the least alpha of least V is taken, of those with P(alpha) >= mixed * budget: later tokens are not to become
    rare and heavy.
    """
    total = int(counts.sum())
    before = np.concatenate([[0], np.cumsum(counts)])[:-1]
    chance = (budget * total - before) / np.maximum(1, total - before)
    allowed = chance >= min(mixed * budget, budget)
    after = np.cumsum(squares[::-1])[::-1]
    variance = np.where(allowed, (1.0 / np.where(allowed, chance, 1.0) - 1.0) * after, np.inf)
    alpha = int(np.argmin(variance))
    return EarlyShare(alpha, float(min(1.0, chance[alpha])))
