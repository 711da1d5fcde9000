"""Early tokens surely, later ones at random up to a cap: the selection of S-GRPO (arXiv 2504.20834, section 3.1)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from creditree.demand import Learned, Reach
from creditree.errors import ConfigError
from creditree.piece import Circumstances, number
from creditree.select.base import ByCompletion, Completion
from creditree.tree import FloatArray

Reweight = Literal["none", "horvitz_thompson"]

LEAST_INCLUSION = 1e-3
"""Reweighted tokens are drawn at least this often: rarer ones are hardly ever seen, and then outweigh all. Ours."""


@dataclass(frozen=True)
class EarlyAndRandom(ByCompletion):
    """T_i holds token t of completion i if t < alpha, or else with probability P while |T_i| < k; weight 1 / (G |T_i|).

    t is 0-based inside the sampled part of the completion, EOS is a token like any other; tokens that a completion
    inherits from a branch that does not learn are not counted. The cap is sequential: tokens
    are visited from left to right and the first k that qualify are taken, the alpha early ones included; so |T_i| =
    min(k, alpha + Binomial(L - alpha, P)) for alpha <= k, and min(alpha, L) where alpha >= k. The draw is independent
    for each completion and each update. Biased towards early positions on purpose: not an unbiased estimate of
    full-token GRPO. With alpha >= L, or P = 1 and k >= L, it is `everything`, to the bit.

    `reweight: horvitz_thompson` makes it unbiased (arXiv 2603.06619): weight 1 / (G L p_t) for a token of T_i, with p_t
    the chance that token t is taken (`inclusion`). Refused where that is 0 for some t.
    """

    alpha: int = number(50, "this many first tokens surely learn", least=0, why="it counts tokens")
    probability: float = number(0.5, "chance of each later token", least=0, most=1)
    k: int = number(100, "no later token once this many are taken", least=0, why="it counts tokens")
    reweight: Reweight = number("none", "divide by the chance that a token is taken, which makes it unbiased")
    name: ClassVar[str] = "early_and_random"
    paper: ClassVar[str] = "arXiv 2504.20834; reweighted: 2603.06619"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha == 0 and (self.k == 0 or self.probability == 0.0):
            raise ConfigError("method.alpha is 0 and k or probability is 0 too: no token could ever learn; raise one.")
        if self.reweight != "none" and (self.k <= self.alpha or self.probability == 0.0):
            raise ConfigError(
                f"method.reweight '{self.reweight}' divides by the chance that a token is taken, which is 0 for all "
                f"after the first alpha = {self.alpha} where k is {self.k} and probability {self.probability}; set k "
                "above alpha and probability above 0, or reweight: none."
            )

    def check(self, run: Circumstances) -> None:
        """Raise ConfigError where every token would learn, or some that should would hardly ever be drawn."""
        if self.alpha > run.max_new_tokens:
            raise ConfigError(
                f"method.alpha is {self.alpha}, but a completion has at most sampling.max_new_tokens = "
                f"{run.max_new_tokens} tokens, so every token would surely learn; lower alpha, or set method.select: "
                "everything."
            )
        self.check_length(run.max_new_tokens)

    def demand(self, length: int) -> Learned:
        """Return the reach in completions of `length`: at most but for about one in a thousand."""
        chosen = min(length, max(self.k, self.alpha))
        return Learned("early", Reach(chosen, self.reach(length, 3.0), self.reach(length)))

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
        return _inclusion(self.alpha, self.probability, self.k, length)

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return 1 / (G |T_i|) for the tokens of T_i, or 1 / (G L p_t)."""
        length = completion.learning
        taken = np.flatnonzero(self.mask(completion.key.uniforms(length)))
        values = np.zeros(length)
        values[taken] = 1.0 / (completion.group * max(1, len(taken)))
        if self.reweight != "none":
            values[taken] = 1.0 / (completion.group * length) / self.inclusion(length)[taken]
        return completion.placed(values)


@lru_cache(maxsize=4096)
def _inclusion(alpha: int, probability: float, k: int, length: int) -> FloatArray:
    inclusion = np.ones(length)
    room = max(0, k - alpha)
    sure = min(length, alpha + room)
    inclusion[alpha:sure] = probability
    inclusion[sure:] = 0.0
    counts = np.zeros(room)
    counts[:1] = 1.0
    for t in range(alpha + 1, length if room else 0):
        counts[1:], counts[:1] = (
            counts[1:] * (1.0 - probability) + counts[:-1] * probability,
            counts[:1] * (1.0 - probability),
        )
        if t >= sure:
            inclusion[t] = probability * counts.sum()
    inclusion.setflags(write=False)
    return inclusion
