"""The mismatch between who sampled and who learns, corrected by truncated or masked importance weights."""

from dataclasses import replace

import numpy as np

from creditree.batch import Batch
from creditree.objective.base import Objective
from creditree.tree import FloatArray, IntArray


def corrected(batch: Batch, objective: Objective) -> Batch:
    """Return a batch whose advantages are multiplied by `importance` of each term.

    The loss of every objective that allows it is homogeneous in the advantage, so the loss is multiplied by the weight,
    and its penalties are not, as in verl. The old log-probabilities must be the learner's own.
    """
    weight = importance(
        batch.old_logprob - batch.sampler_logprob, batch.sequence, objective.sampler_correction, objective.sampler_cap
    )
    return replace(batch, advantage=batch.advantage * weight)


def importance(log_ratio: FloatArray, sequence: IntArray, kind: str, cap: float) -> FloatArray:
    """Return the importance weight of each term [M], from d = log p by the learner - log p by the engine.

    ``token``: min(exp(d), cap), truncated importance sampling (Yao et al., "Your efficient RL framework secretly brings
    you off-policy RL training", 2025).  ``sequence``: the same of the sum of d over the terms of a branch, so of all
    its tokens where all learn (Liu et al., "When speed kills stability", 2025).  ``token_mask``, ``sequence_mask``:
    exp(d) where it is at most cap, and 0 above it (masked importance sampling, ibid.): what is too far off does not
    learn. As in verl's rollout correction; sums are bounded before they are exponentiated.
    """
    if kind.startswith("sequence"):
        sums = np.asarray(np.bincount(sequence, weights=log_ratio), dtype=np.float64)
        log_ratio = sums[sequence]
    ratio = np.exp(np.clip(log_ratio, -LARGEST, LARGEST))
    return np.where(ratio <= cap, ratio, 0.0) if kind.endswith("mask") else np.minimum(ratio, cap)


LARGEST = 20.0
"""Differences are clamped to +- this before they are exponentiated, as verl does."""
