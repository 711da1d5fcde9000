"""Whether the completions of a problem differ at all in reward: without that no credit can tell them apart."""

from creditree.tree import Forest


def is_mixed(forest: Forest) -> bool:
    """Return whether two completions of a problem that learn have different rewards."""
    return len(_rewards(forest)) > 1


def is_mixed_where_forked(forest: Forest) -> bool:
    """Return `is_mixed` of the completions that share tokens with others; of all where nothing was forked."""
    forked = any(tree.forked for tree in forest)
    return len(_rewards(forest, only_forked=True)) > 1 if forked else is_mixed(forest)


def _rewards(forest: Forest, *, only_forked: bool = False) -> set[float]:
    chosen = ((tree, tree.forked if only_forked else tree.leaves) for tree in forest)
    branches = (tree.branches[leaf] for tree, leaves in chosen for leaf in leaves)
    return {branch.reward for branch in branches if branch.learns and branch.reward is not None}
