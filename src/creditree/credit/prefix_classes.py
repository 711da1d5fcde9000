"""Which prefixes of a tree count as one: classes by normalised text, or by the cosine of their last hidden states."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from creditree.tree import ROOT_CLASS, FloatArray, IntArray, RolloutTree
from creditree.trie import TokenTrie

_MARKS = re.compile(r"[,;:!?\"'`]|(?<!\d)\.|\.(?!\d)")
_LOOSE_SPACE = re.compile(r"\s+(?=[^\w\s])|(?<=[^\w\s])\s+")


def normalised_text(text: str) -> str:
    """Return `text` in lower case, without the punctuation of sentences, and without white space that parts no words.

    A point between digits stays, and so do operators and brackets: they change a number or a formula. What white space
    is left, between two letters or digits, is one blank.
    """
    bare = _LOOSE_SPACE.sub("", _MARKS.sub(" ", text.lower()))
    return re.sub(r"\s+", " ", bare).strip()


def ends_of(trie: TokenTrie) -> NDArray[np.bool_]:
    """Return which prefixes of a trie are a whole sequence [K]."""
    ends = np.zeros(len(trie), dtype=np.bool_)
    ends[trie.node_of[np.arange(len(trie.lengths)), trie.lengths]] = True
    return ends


def text_classes(tree: RolloutTree, texts_of: Callable[[Sequence[IntArray]], Sequence[str]]) -> RolloutTree:
    """Return `tree` with classes of its prefixes by `normalised_text`; `texts_of` decodes token ids.

    Prefixes of any lengths are compared, kept tokens included. A whole completion is in no class but its own.
    """
    leaves = tree.rewarded
    if not leaves:
        return tree
    trie = tree.trie(leaves)
    prefixes: list[IntArray] = [tree.kept_ids] * len(trie)
    for row, leaf in enumerate(leaves):
        whole = np.concatenate([tree.kept_ids, tree.completion(leaf)])
        for at in range(1, int(trie.lengths[row]) + 1):
            prefixes[trie.node_of[row, at]] = whole[: len(tree.kept_ids) + at]
    names = [normalised_text(text) for text in texts_of(prefixes)]
    numbers = {names[0]: ROOT_CLASS}
    whole_one, classes = ends_of(trie), np.zeros(len(trie), dtype=np.int64)
    for node, name in enumerate(names):
        key = f"{name}\n{node}" if whole_one[node] else name  # a normalised text holds no line break
        classes[node] = numbers.setdefault(key, len(numbers))
    return with_classes(tree, leaves, trie, classes)


def hidden_classes(tree: RolloutTree, states: Sequence[FloatArray], similarity: float) -> RolloutTree:
    """Return `tree` with classes of its prefixes by their hidden states.

    ``states[branch][t]`` is the state before token t of a branch, [tokens, width]. Prefixes of equally many tokens are
    one if a chain of pairs with a cosine of `similarity` or more connects them: so the order of completions does not
    matter. A whole completion is in no class but its own, and the root neither.
    """
    leaves = tree.rewarded
    if not leaves:
        return tree
    trie = tree.trie(leaves)
    state_of = np.zeros((len(trie), states[leaves[0]].shape[1]))
    for row, leaf in enumerate(leaves):
        before = np.concatenate([states[branch][:stop] for branch, stop in tree.path(leaf)])
        state_of[trie.node_of[row, : len(before)]] = before
    norms = np.linalg.norm(state_of, axis=1, keepdims=True)
    unit = state_of / np.where(norms > 0, norms, 1.0)
    classes = np.arange(len(trie))
    inner = ~ends_of(trie)
    for depth in range(1, int(trie.depth.max(initial=0)) + 1):
        nodes = np.flatnonzero(inner & (trie.depth == depth))
        if len(nodes) > 1:
            classes[nodes] = nodes[connected(unit[nodes] @ unit[nodes].T >= similarity)]
    return with_classes(tree, leaves, trie, classes)


def connected(linked: NDArray[np.bool_]) -> IntArray:
    """Return for each of n things the first that a chain of links [n, n] (symmetric) connects it with."""
    first = np.arange(len(linked))
    reach = linked | np.eye(len(linked), dtype=np.bool_)
    while True:
        least = np.where(reach, first, len(linked)).min(axis=1)
        if np.array_equal(least, first):
            return first
        first = least


def with_classes(tree: RolloutTree, leaves: Sequence[int], trie: TokenTrie, classes: IntArray) -> RolloutTree:
    """Return `tree` with `classes` [K] of the prefixes of the trie of `leaves` on the branches that hold them."""
    by_branch: dict[int, IntArray] = {}
    for row, leaf in enumerate(leaves):
        of_tokens = classes[trie.node_of[row, 1 : trie.lengths[row] + 1]]
        start = 0
        for branch, stop in tree.path(leaf):
            into = by_branch.setdefault(branch, np.full(len(tree.branches[branch].token_ids), -1, dtype=np.int64))
            into[:stop] = of_tokens[start : start + stop]
            start += stop
    return tree.noted("classes", [by_branch.get(index) for index in tree.leaves])
