"""Ratios of whole sequences: what a single term has to be told of the others."""

import numpy as np

from creditree.tree import FloatArray, IntArray


def by_sequence(own: FloatArray, old: FloatArray, sequence: IntArray) -> FloatArray:
    """Return old log-probabilities [M] that make the ratio of each term that of its whole sequence.

    Of sequence i with log-probabilities l = `own` now and o = `old` before, term t gets l_t - mean over i of (l - o):
    then exp(l_t - that) is the geometric mean of the sequence's ratios, and its gradient that value times grad l_t.
    """
    counts = np.maximum(np.bincount(sequence), 1)
    mean = np.bincount(sequence, weights=own - old) / counts
    return np.asarray(own - mean[sequence])
