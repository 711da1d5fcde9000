"""Selections by chance that stay unbiased: each token that was drawn is weighted by 1 / the chance that it was."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from creditree.fields import gather, num_trained, same_assigned, scatter, trained_leaves
from creditree.rng import Key
from creditree.select.full_mean import PartOfMean
from creditree.select.selection import ForestField
from creditree.tree import FloatArray, Forest, RolloutTree


@dataclass(frozen=True, slots=True)
class Drawn(PartOfMean):
    """Weight w_t / p_t for a token that was drawn, 0 for the others: the estimator of Horvitz and Thompson (1952).

    w_t is the weight of `everything` (`loss_mean`), p_t > 0 the chance that token t is drawn. Whatever the numbers x_t
    of a step's completions are, the expectation of sum_t weight_t x_t over the draws is sum_t w_t x_t: loss and
    gradient of the full-token mean, KL penalty included. The draw is independent for each completion and each update.
    """

    @abstractmethod
    def inclusion(self, tree: RolloutTree, leaf: int, advantage: FloatArray, share: float) -> FloatArray:
        """Return p [L] of a completion, given its advantages [L] and the weight w of each of its tokens."""

    def uniforms(self, length: int, key: Key) -> FloatArray:
        """Return the numbers [L], uniform in [0, 1), below whose p_t token t is drawn: independent ones."""
        return key.uniforms(length)

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        full, group = self.full, num_trained(forest, advantages)
        weights = []
        for index, (tree, given) in enumerate(zip(forest, advantages, strict=True)):
            held = same_assigned(given)
            for leaf in trained_leaves(tree, given):
                length = tree.branches[leaf].end
                share = full.share(group, length)
                chance = self.inclusion(tree, leaf, gather(tree, leaf, given), share)
                taken = self.uniforms(length, key.at("mask", index, leaf)) < chance
                scatter(tree, leaf, np.where(taken, share / chance, 0.0), held, add=True)
            weights.append(tuple(held))
        return tuple(weights)
