"""Forward context influence of steps: how much later steps attend to each (arXiv 2509.26628, section 3.1)."""

from collections.abc import Sequence

import numpy as np

from creditree.steps import Separators, Step, split_steps, think_stop
from creditree.tree import FloatArray, RolloutTree


def influence_of(tree: RolloutTree, leaf: int) -> FloatArray | None:
    """Return the raw influence of each token's step along a completion; None where a part of it was not observed."""
    parts = []
    for branch, stop in tree.path(leaf):
        influence = tree.branches[branch].influence
        if influence is None:
            return None
        parts.append(influence[:stop])
    return np.concatenate(parts)


def observed_influence(tree: RolloutTree, leaf: int) -> FloatArray:
    """Return the raw influence of each token's step along a completion. Raises ValueError where none was observed."""
    influence = influence_of(tree, leaf)
    if influence is None:
        raise ValueError(f"branch {leaf} has no influence to branch by: the engine gave none")
    return influence


def step_scores(influence: FloatArray, steps: Sequence[Step]) -> FloatArray:
    """Return y [S] of steps, given the influence of each token's step [L]."""
    return np.asarray(influence)[[start for start, _ in steps]]


def zeroed(scores: FloatArray, think_step: int | None) -> FloatArray:
    """Return y [S] with the first step, and every step from the one that ends the thinking on, set to 0."""
    kept = np.array(scores, dtype=np.float64)
    kept[:1] = 0.0
    if think_step is not None:
        kept[think_step:] = 0.0
    return kept


def mean_influence(tree: RolloutTree, leaves: Sequence[int], separators: Separators) -> float | None:
    """Return (1/G) sum_i (1/S_i) sum_k y_ik over G completions, zeroed scores included (arXiv 2509.26628, equation 8).

    None where the influence of one of them was not observed, or there is none of them.
    """
    means = []
    for leaf in leaves:
        influence, completion = influence_of(tree, leaf), tree.completion(leaf)
        if influence is None:
            return None
        steps = split_steps(completion, separators)
        think_step = think_stop(completion, steps, separators.think_end)
        means.append(zeroed(step_scores(influence, steps), think_step).mean())
    return float(np.mean(means)) if means else None
