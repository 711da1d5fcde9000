"""Token fields: one number for each sampled token, kept per branch and aligned with its `token_ids`."""

import numpy as np
from numpy.typing import NDArray

from creditree.tree import FloatArray, Forest, RolloutTree

ZERO = 1e-12
"""Advantages of this size or less are rounding, not signal."""

TokenField = tuple[FloatArray | None, ...]
"""One array per branch. None means "not assigned", which is not zero: no judged completion holds its tokens, or they
do not learn."""


def unassigned(tree: RolloutTree) -> list[FloatArray | None]:
    """Return a field of `tree`: zeros for branches that learn and hold tokens of a judged completion, None else."""
    rewarded = {branch for leaf in tree.rewarded for branch, _ in tree.path(leaf)}
    return [
        np.zeros(len(branch.token_ids)) if i in rewarded and branch.learns else None
        for i, branch in enumerate(tree.branches)
    ]


def only_learning(tree: RolloutTree, field: TokenField) -> TokenField:
    """Return a field without the numbers of branches that do not learn, whoever gave them."""
    return tuple(values if branch.learns else None for branch, values in zip(tree.branches, field, strict=True))


def trained_leaves(tree: RolloutTree, advantages: TokenField) -> tuple[int, ...]:
    """Return the leaves that are trained on: they have a reward, and their own branch an advantage."""
    return tuple(leaf for leaf in tree.rewarded if advantages[leaf] is not None)


def num_learning(tree: RolloutTree, leaf: int, advantages: TokenField) -> int:
    """Return how many tokens of a completion learn: all but those that it inherits from branches that do not."""
    return sum(stop for branch, stop in tree.path(leaf) if advantages[branch] is not None)


def num_trained(forest: Forest, advantages: tuple[TokenField, ...]) -> int:
    """Return how many completions of a forest are trained on: the size of the group that weights divide by."""
    return sum(len(trained_leaves(tree, field)) for tree, field in zip(forest, advantages, strict=True))


def same_assigned(advantages: TokenField) -> list[FloatArray | None]:
    """Return a field of zeros that is assigned where the advantages are."""
    return [None if values is None else np.zeros(len(values)) for values in advantages]


def is_signal(advantage: FloatArray) -> NDArray[np.bool_]:
    """Return which advantages are more than rounding; NaN is, or what is wrong would be left out without a word."""
    return np.asarray(~(np.abs(advantage) <= ZERO))


def has_signal(advantages: tuple[TokenField, ...], weights: tuple[TokenField, ...]) -> bool:
    """Return whether any token with a weight has an advantage that is not zero."""
    pairs = ((a, w) for af, wf in zip(advantages, weights, strict=True) for a, w in zip(af, wf, strict=True))
    return any(bool(np.any(is_signal(a) & (w != 0))) for a, w in pairs if a is not None and w is not None)


def gather(tree: RolloutTree, leaf: int, field: TokenField) -> FloatArray:
    """Return a field's numbers along the completion of `leaf`, 0 where it is not assigned: `scatter` the other way."""
    pieces = ((field[branch], stop) for branch, stop in tree.path(leaf))
    return np.concatenate([np.zeros(stop) if values is None else values[:stop] for values, stop in pieces])


def scatter(tree: RolloutTree, leaf: int, values: FloatArray, field: list[FloatArray | None], *, add: bool) -> None:
    """Write `values`, one for each token of `leaf`'s completion, into the branches that hold those tokens."""
    start = 0
    for branch, stop in tree.path(leaf):
        of_branch = field[branch]
        piece = values[start : start + stop]
        if of_branch is not None:
            of_branch[:stop] = of_branch[:stop] + piece if add else piece
        start += stop
