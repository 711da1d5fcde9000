"""Early tokens surely, later ones at random up to a cap: the selection of S-GRPO (arXiv 2504.20834, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from creditree.errors import ConfigError, check_fraction
from creditree.fields import TokenField, num_trained, same_assigned, scatter, trained_leaves
from creditree.rng import Key
from creditree.tree import FloatArray, Forest


@dataclass(frozen=True, slots=True)
class EarlyAndRandom:
    """T_i holds token t of completion i if t < alpha, or else with probability P while |T_i| < k; weight 1 / (G |T_i|).

    t is 0-based inside the sampled part of the completion, EOS is a token like any other. The cap is sequential: tokens
    are visited from left to right and the first k that qualify are taken, the alpha early ones included; so |T_i| =
    min(k, alpha + Binomial(L - alpha, P)) for alpha <= k, and min(alpha, L) where alpha >= k. The draw is independent
    for each completion and each update. Biased towards early positions on purpose: not an unbiased estimate of
    full-token GRPO. With alpha >= L, or P = 1 and k >= L, it is `everything`, to the bit.
    """

    alpha: int = 50
    probability: float = 0.5
    k: int = 100
    name: ClassVar[str] = "early_and_random"
    unique_pairs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.k < 0:
            raise ConfigError(
                f"method.alpha is {self.alpha} and method.k is {self.k}: both count tokens; set 0 or more."
            )
        check_fraction("method.probability", self.probability)
        if self.alpha == 0 and (self.k == 0 or self.probability == 0.0):
            raise ConfigError("method.alpha is 0 and k or probability is 0 too: no token could ever learn; raise one.")

    def reach(self, length: int, deviations: float = 0.0) -> int:
        """Return how many first tokens of a completion hold all of T_i: in the mean, or some standard deviations more.

        The last of k - alpha later tokens that qualify is a negative binomial away: mean (k - alpha) / P, variance
        (k - alpha) (1 - P) / P^2.
        """
        more = max(0, self.k - self.alpha)
        if more == 0 or self.probability == 0.0:
            return min(length, self.alpha)
        spread = deviations * (more * (1.0 - self.probability)) ** 0.5
        return min(length, self.alpha + int(np.ceil((more + spread) / self.probability)))

    def mask(self, uniforms: FloatArray) -> NDArray[np.bool_]:
        """Return which of L tokens are in T_i, given one uniform number for each [L]."""
        position = np.arange(len(uniforms))
        early = position < self.alpha
        picked = ~early & (uniforms < self.probability)
        before = min(self.alpha, len(uniforms)) + np.cumsum(picked) - picked
        return early | (picked & (before < self.k))

    def weigh(self, forest: Forest, advantages: tuple[TokenField, ...], key: Key) -> tuple[TokenField, ...]:
        """Return the weights of every tree of `forest`."""
        group = num_trained(forest, advantages)
        weights = []
        for index, (tree, given) in enumerate(zip(forest, advantages, strict=True)):
            field = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                mask = self.mask(key.at("mask", index, leaf).uniforms(tree.branches[leaf].end))
                share = 1.0 / (group * mask.sum()) if mask.any() else 0.0
                scatter(tree, leaf, np.where(mask, share, 0.0), field, add=True)
            weights.append(tuple(field))
        return tuple(weights)

    def normaliser(self, weights: Sequence[tuple[TokenField, ...]]) -> float:
        """Return the number of problems: their losses are averaged."""
        return float(len(weights))
