"""Each unique (prefix, next token) pair once: the selection of T-SPMO (arXiv 2504.20834, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from creditree.demand import Learned
from creditree.fields import TokenField, is_signal, unassigned
from creditree.piece import number
from creditree.rng import Key
from creditree.select.base import ForestField, Selection
from creditree.tree import Forest, IntArray, RolloutTree
from creditree.trie import TokenTrie

PairNorm = Literal["branching", "all", "nonzero"]


@dataclass(frozen=True)
class BranchingPairs(Selection):
    """Weight 1 / |U| for each unique pair (p, v) of U, on the first completion that holds it.

    `u_norm` says which pairs U counts (the paper prints |U| and leaves this open): ``branching`` those at prefixes with
    at least two different next tokens (at most 2 (L - 1) for L distinct completions), ``all`` every pair, ``nonzero``
    those of ``branching`` whose advantage is not 0 (where prefixes match by their tokens, no other pair has one). U is
    the union over the trees of the forest; a pair of two trees counts in each, because each tree estimates its
    advantage from its own completions.

    Where prefixes count as one though their tokens differ (`PrefixGain.match`), a prefix branches if at least two
    different tokens follow the prefixes of its class. A pair stays one of prefix and token: pi(v|p) differs within a
    class.
    """

    u_norm: PairNorm = number("branching", "which pairs |U| counts")
    name: ClassVar[str] = "branching_pairs"
    paper: ClassVar[str] = "arXiv 2504.20834"
    unique_pairs: ClassVar[bool] = True

    def demand(self, length: int) -> Learned:
        """Return that only branching prefixes are asked for, where these are what U counts."""
        return Learned("everything" if self.u_norm == "all" else "branching")

    def weigh(self, forest: Forest, advantages: ForestField, key: Key) -> ForestField:
        """Return the weights of every tree of `forest`."""
        masks = [self._masks(tree, field) for tree, field in zip(forest, advantages, strict=True)]
        size = sum(int(mask.sum()) for field in masks for mask in field if mask is not None)
        return tuple(
            tuple(None if mask is None else np.where(mask, 1.0 / size if size else 0.0, 0.0) for mask in field)
            for field in masks
        )

    def _masks(self, tree: RolloutTree, advantages: TokenField) -> list[NDArray[np.bool_] | None]:
        masks = [None if field is None else field.astype(bool) for field in unassigned(tree)]
        leaves = tree.rewarded
        if not leaves:
            return masks
        trie = tree.trie(leaves)
        counted = self._counted(trie, tree.prefix_classes(leaves, trie))
        learns = np.array([tree.branches[leaf].learns for leaf in leaves])
        holder = trie.first_holder(learns)
        for row, leaf in enumerate(leaves):
            nodes = trie.node_of[row, 1 : trie.lengths[row] + 1]
            mine = counted[nodes] & (holder[nodes] == row)
            start = 0
            for branch, stop in tree.path(leaf):
                mask, advantage = masks[branch], advantages[branch]
                if mask is not None and advantage is not None:
                    piece = mine[start : start + stop]
                    mask[:stop] |= piece & is_signal(advantage[:stop]) if self.u_norm == "nonzero" else piece
                start += stop
        return masks

    def _counted(self, trie: TokenTrie, classes: IntArray | None) -> NDArray[np.bool_]:
        if self.u_norm == "all":
            return np.ones(len(trie), dtype=np.bool_)
        following = trie.num_children if classes is None else trie.num_next_tokens(classes)
        return np.asarray((following[np.maximum(trie.parent, 0)] >= 2) & (trie.parent >= 0))
