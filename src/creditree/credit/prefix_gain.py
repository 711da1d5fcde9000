"""Prefix gain: the advantage of T-SPMO (arXiv 2504.20834, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.fields import TokenField, scatter, unassigned
from creditree.tree import RolloutTree


@dataclass(frozen=True, slots=True)
class PrefixGain:
    """A(v|p) = V(p + v) - V(p), with V(p) the mean reward of the tree's completions that start with prefix p.

    Completions are merged wherever their token ids coincide; each counts with multiplicity. No division by the standard
    deviation, no clipping. Along a completion the gains sum to R_i - mean(R) (telescoping); at each prefix their
    count-weighted sum over next tokens is 0; both hold for a flat tree, the only kind that group and replay grow.
    """

    name: ClassVar[str] = "prefix_gain"
    per_pair: ClassVar[bool] = True

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`."""
        field = unassigned(tree)
        leaves = tree.rewarded
        if not leaves:
            return tuple(field)
        trie = tree.trie(leaves)
        value = trie.means(tree.rewards(leaves))
        gain = value - value[trie.parent]
        for row, leaf in enumerate(leaves):
            scatter(tree, leaf, gain[trie.node_of[row, 1 : trie.lengths[row] + 1]], field, add=False)
        return tuple(field)
