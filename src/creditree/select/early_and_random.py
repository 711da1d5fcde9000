"""Early tokens surely, later ones at random up to a cap: the selection of S-GRPO (arXiv 2504.20834, section 3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from creditree.errors import ConfigError, check_choice, check_fraction
from creditree.fields import num_trained, same_assigned, scatter, trained_leaves
from creditree.rng import Key
from creditree.select.selection import NOTHING_CHOSEN, ForestField
from creditree.signals import NO_SIGNALS, Signals
from creditree.tree import FloatArray, Forest

Reweight = Literal["none", "horvitz_thompson"]

LEAST_INCLUSION = 1e-3
"""Reweighted tokens are drawn at least this often: rarer ones are hardly ever seen, and then outweigh all. Ours."""


@dataclass(frozen=True, slots=True)
class EarlyAndRandom:
    """T_i holds token t of completion i if t < alpha, or else with probability P while |T_i| < k; weight 1 / (G |T_i|).

    t is 0-based inside the sampled part of the completion, EOS is a token like any other. The cap is sequential: tokens
    are visited from left to right and the first k that qualify are taken, the alpha early ones included; so |T_i| =
    min(k, alpha + Binomial(L - alpha, P)) for alpha <= k, and min(alpha, L) where alpha >= k. The draw is independent
    for each completion and each update. Biased towards early positions on purpose: not an unbiased estimate of
    full-token GRPO. With alpha >= L, or P = 1 and k >= L, it is `everything`, to the bit.

    `reweight: horvitz_thompson` makes it unbiased (arXiv 2603.06619): weight 1 / (G L p_t) for a token of T_i, with p_t
    the chance that token t is taken (`inclusion`). Refused where that is 0 for some t.
    """

    alpha: int = 50
    probability: float = 0.5
    k: int = 100
    reweight: Reweight = "none"
    name: ClassVar[str] = "early_and_random"
    unique_pairs: ClassVar[bool] = False
    signals: ClassVar[Signals] = NO_SIGNALS
    chosen: ClassVar[Mapping[str, float]] = NOTHING_CHOSEN

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.k < 0:
            raise ConfigError(
                f"method.alpha is {self.alpha} and method.k is {self.k}: both count tokens; set 0 or more."
            )
        check_fraction("method.probability", self.probability)
        check_choice("method.reweight", self.reweight, get_args(Reweight))
        if self.alpha == 0 and (self.k == 0 or self.probability == 0.0):
            raise ConfigError("method.alpha is 0 and k or probability is 0 too: no token could ever learn; raise one.")
        if self.reweight != "none" and (self.k <= self.alpha or self.probability == 0.0):
            raise ConfigError(
                f"method.reweight '{self.reweight}' divides by the chance that a token is taken, which is 0 for all "
                f"after the first alpha = {self.alpha} where k is {self.k} and probability {self.probability}; set k "
                "above alpha and probability above 0, or reweight: none."
            )

    def check_length(self, longest: int) -> None:
        """Raise ConfigError where completions of up to `longest` tokens have some that would hardly ever be drawn."""
        if self.reweight == "none" or self.inclusion(longest)[-1] >= LEAST_INCLUSION:
            return
        raise ConfigError(
            f"method.reweight '{self.reweight}' divides by the chance that a token is taken, and the cap k = {self.k} "
            f"leaves token {longest} a chance of {self.inclusion(longest)[-1]:.1g}; raise k ({longest} is no cap), or "
            "set reweight: none."
        )

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

    def inclusion(self, length: int) -> FloatArray:
        """Return p_t [L], the chance that token t is in T_i; it does not depend on what comes after t.

        p_t = 1 for t < alpha, else P times the chance that there is room: fewer than k - alpha of the t - alpha later
        tokens before it qualified, p_t = P Pr(Binomial(t - alpha, P) < k - alpha). The binomial is stepped through: the
        chances of 0, ..., k - alpha - 1 so far, all of them sums of products of positive numbers.
        """
        found = np.ones(length)
        room = max(0, self.k - self.alpha)
        sure = min(length, self.alpha + room)
        found[self.alpha : sure] = self.probability
        found[sure:] = 0.0
        counts = np.zeros(room)
        counts[:1] = 1.0
        for t in range(self.alpha + 1, length if room else 0):
            counts[1:], counts[:1] = (
                counts[1:] * (1.0 - self.probability) + counts[:-1] * self.probability,
                counts[:1] * (1.0 - self.probability),
            )
            if t >= sure:
                found[t] = self.probability * counts.sum()
        return found

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection: it looks at nothing."""
        return self

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        group = num_trained(forest, advantages)
        ends = [tree.branches[leaf].end for tree in forest for leaf in tree.leaves]
        chance = np.ones(0) if self.reweight == "none" else self.inclusion(max(ends, default=0))
        weights = []
        for index, (tree, given) in enumerate(zip(forest, advantages, strict=True)):
            field = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                length = tree.branches[leaf].end
                mask = self.mask(key.at("mask", index, leaf).uniforms(length))
                taken = np.flatnonzero(mask)
                values = np.zeros(length)
                values[taken] = 1.0 / (group * max(1, len(taken)))
                if self.reweight != "none":
                    values[taken] = 1.0 / (group * length) / chance[taken]
                scatter(tree, leaf, values, field, add=True)
            weights.append(tuple(field))
        return tuple(weights)

    def penalised(self, forest: Forest, advantages: ForestField) -> None:
        """Return None: a KL penalty has the weights of the loss."""

    def normaliser(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> float:
        """Return the number of problems: their losses are averaged."""
        return float(len(forests))
