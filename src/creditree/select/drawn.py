"""Selections by chance that stay unbiased: each token that was drawn is weighted by 1 / the chance that it was."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from creditree.rng import Key
from creditree.select.base import Completion
from creditree.select.full_mean import FullMean
from creditree.tree import FloatArray


@dataclass(frozen=True)
class Drawn(FullMean):
    """Weight w_t / p_t for a token that was drawn, 0 for the others: the estimator of Horvitz and Thompson (1952).

    w_t is the weight of `everything` (`loss_mean`), p_t > 0 the chance that token t is drawn. Whatever the numbers x_t
    of a step's completions are, the expectation of sum_t weight_t x_t over the draws is sum_t w_t x_t: loss and
    gradient of the full-token mean, KL penalty included. The draw is independent for each completion and each update.
    L counts the tokens of a completion that learn, which all are but those that it inherits from branches that do not.
    """

    @abstractmethod
    def inclusion(self, completion: Completion) -> FloatArray:
        """Return p [L] of a completion."""

    def uniforms(self, length: int, key: Key) -> FloatArray:
        """Return the numbers [L], uniform in [0, 1), below whose p_t token t is drawn: independent ones."""
        return key.uniforms(length)

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return w_t / p_t where a token was drawn."""
        chance = self.inclusion(completion)
        taken = self.uniforms(len(chance), completion.key) < chance
        return completion.placed(np.where(taken, self.share(completion.group, len(chance)) / chance, 0.0))
