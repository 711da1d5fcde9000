"""What the trees of a problem, and of a training step, have in common: one trie of all that was sampled."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from creditree.tree import Forest
from creditree.trie import SharedTrie, TokenTrie


def share(forests: Sequence[Forest]) -> list[Forest]:
    """Return the forests of a step with one trie of all their sequences, of which `RolloutTree.trie` gives parts."""
    trees = [tree for forest in forests for tree in forest]
    sequences = [np.concatenate([tree.root_ids, tree.completion(leaf)]) for tree in trees for leaf in tree.leaves]
    ends = [branch.token_ids for tree in trees for branch in tree.branches]
    whole, first = SharedTrie(TokenTrie.of(sequences), ends), 0
    shared = []
    for forest in forests:
        starts = first + np.cumsum([0, *(len(tree.branches) for tree in forest)])
        first = int(starts[-1])
        shared.append(
            tuple(replace(tree, shared=(whole, int(at))) for tree, at in zip(forest, starts[:-1], strict=True))
        )
    return shared


def forest_trie(forest: Forest, leaves: Sequence[tuple[int, int]]) -> TokenTrie:
    """Return the trie of some completions of a forest, (tree, leaf) each, kept tokens included."""
    parts = [part for part in (tree.part for tree in forest) if part is not None]
    if len(parts) == len(forest) and all(whole is parts[0][0] for whole, _ in parts):
        return parts[0][0].below([parts[tree][1] + leaf for tree, leaf in leaves], len(forest[0].prompt_ids))
    return TokenTrie.of([np.concatenate([forest[n].kept_ids, forest[n].completion(leaf)]) for n, leaf in leaves])
