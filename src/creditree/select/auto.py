"""A share of the tokens, chosen by what they are worth, which is read off the completions of a step themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import ClassVar, Literal, Self

import numpy as np

from creditree.fields import gather, num_trained, trained_leaves
from creditree.piece import fitted, number
from creditree.select.allocation import EarlyShare, Proportional, early_share, proportional
from creditree.select.base import Completion, ForestField
from creditree.select.drawn import Drawn
from creditree.select.masked import NOTHING_DRAWN
from creditree.tree import FloatArray, Forest

Allocation = Literal["positions", "tokens"]

MIXED = 0.1
"""Part of the budget that goes to all tokens evenly, whatever they are worth. Ours."""


@dataclass(frozen=True)
class Auto(Drawn):
    """Draws a share `budget` of all tokens, in the mean, so that the full-token gradient is estimated best.

    Weights are w_t / p_t (`Drawn`), so every choice of p is unbiased, and the variance of the gradient is sum_t w_t^2
    A_t^2 |g_t|^2 (1 / p_t - 1) with g_t the gradient of log pi(y_t). With respect to the logits |g_t| lies between
    1 - pi_t and sqrt(2) (1 - pi_t), pi_t the untempered probability of the sampled token; so a token is worth s_t = w_t
    |A_t| (1 - pi_t), and the p of least variance are chosen, once a training step, from the completions of the step:

    ``positions``: the alpha and P of `early_and_random` (first alpha tokens surely, later ones with P, no cap k);
    ``tokens``: each token for itself, p_t = min(1, c s_t), with a tenth of the budget spread evenly (`proportional`).

    Stateless: a function of the step's completions and advantages. budget = 1 is `everything`, to the bit.
    """

    budget: float = number(
        0.5, "share of the tokens that learns, in the mean", above=0, most=1, why="it is a share of tokens"
    )
    allocation: Allocation = number("positions", "choose alpha and P, or a chance for each token")
    rule: EarlyShare | Proportional | None = fitted(None)
    name: ClassVar[str] = "auto"
    paper: ClassVar[str] = "ours (Neyman allocation)"

    @property
    def chosen(self) -> Mapping[str, float]:
        """Return alpha and P, or the scale c; nothing where no c is large enough, as without any advantage."""
        if self.rule is None:
            return {}
        if isinstance(self.rule, EarlyShare):
            return {"alpha": float(self.rule.alpha), "probability": self.rule.probability}
        return {"scale": self.rule.scale} if isfinite(self.rule.scale) else {}

    def scores(self, completion: Completion) -> FloatArray:
        """Return s [L] of a completion."""
        logprobs = gather(
            completion.tree, completion.leaf, tuple(branch.logprobs for branch in completion.tree.branches)
        )
        share = self.share(completion.group, completion.learning)
        scores = share * np.abs(completion.advantage) * -np.expm1(np.minimum(0.0, logprobs))
        return np.asarray(scores[completion.learns])

    def of_step(self, forests: Sequence[Forest], advantages: Sequence[ForestField]) -> Self:
        """Return this selection with its rule."""
        scores = [self._scored(forest, given) for forest, given in zip(forests, advantages, strict=True)]
        rows = [row for of_forest in scores for row in of_forest]
        if not rows:
            return self
        if self.allocation == "tokens":
            return replace(self, rule=proportional(np.concatenate(rows), self.budget, MIXED))
        position = np.concatenate([np.arange(len(row)) for row in rows])
        squares = np.bincount(position, weights=np.square(np.concatenate(rows))).astype(np.float64)
        return replace(self, rule=early_share(squares, np.bincount(position), self.budget, MIXED))

    def inclusion(self, completion: Completion) -> FloatArray:
        """Return p [L] of a completion."""
        assert self.rule is not None
        return self.rule.inclusion(self.scores(completion))

    def ready(self, forest: Forest, advantages: ForestField) -> Self:
        """Return this selection as it weighs a forest."""
        return self if self.rule is not None else self.of_step([forest], [advantages])

    def _scored(self, forest: Forest, advantages: ForestField) -> list[FloatArray]:
        """Return the scores of every completion of a forest that is trained on."""
        group = num_trained(forest, advantages)
        return [
            self.scores(Completion(tree, leaf, group, given, NOTHING_DRAWN))
            for tree, given in zip(forest, advantages, strict=True)
            for leaf in trained_leaves(tree, given)
        ]
