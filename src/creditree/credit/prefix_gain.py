"""Prefix gain: the advantage of T-SPMO (arXiv 2504.20834, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from creditree.credit.base import Credit
from creditree.credit.prefix_classes import hidden_classes, text_classes
from creditree.errors import ConfigError
from creditree.fields import TokenField, scatter, unassigned
from creditree.piece import number
from creditree.signals import Ask, Seen
from creditree.tree import RolloutTree

PrefixMatch = Literal["exact", "text", "hidden"]

SIMILARITY = 0.99
"""Cosine from which hidden states count as one, where `similarity` is left out. Ours."""


@dataclass(frozen=True)
class PrefixGain(Credit):
    """A(v|p) = V(p + v) - V(p), with V(p) the mean reward of the tree's completions that start with prefix p.

    Completions are merged wherever their token ids coincide; each counts with multiplicity. No division by the standard
    deviation, no clipping. Along a completion the gains sum to R_i - mean(R) (telescoping); at each prefix their
    count-weighted sum over next tokens is 0; both hold for a flat tree, the only kind that group and replay grow.

    `match` merges more prefixes of a tree (the paper's future work; how, is ours): V(p) is then the mean reward of the
    completions that start with any prefix of p's class, each counted once.

    ``text``: those whose text is the same but for case, white space and punctuation, whatever their lengths;
    ``hidden``: those of equally many tokens whose last hidden states have a cosine of `similarity` (0.99) or more, and
    those that a chain of such pairs connects (`measured_tokens` of the ledger: one more forward pass, no gradient).

    Whole completions are merged by their tokens alone, so the gains of a completion still sum to R_i - mean(R). At a
    single prefix, or class, their weighted sum is not 0 any more: V(p + v) may know of completions that V(p) does not.
    """

    match: PrefixMatch = number("exact", "prefixes are one where their tokens, normalised texts or hidden states agree")
    similarity: float | None = number(None, "match hidden: states are one from this cosine on; none: 0.99")
    name: ClassVar[str] = "prefix_gain"
    paper: ClassVar[str] = "arXiv 2504.20834"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity is not None and self.match != "hidden":
            raise ConfigError(
                f"method.similarity has no effect while method.match is '{self.match}'; remove it, or set match: "
                "hidden."
            )
        if self.similarity is not None and not 0.0 < self.similarity <= 1.0:
            raise ConfigError(f"method.similarity is {self.similarity}: it is a cosine, above 0 and at most 1.")

    @property
    def per_pair(self) -> bool:
        """Whether equal pairs have equal advantages: always."""
        return True

    @property
    def least_cosine(self) -> float:
        """Cosine from which hidden states count as one."""
        return SIMILARITY if self.similarity is None else self.similarity

    @property
    def asks(self) -> frozenset[Ask]:
        """What prefixes are matched by."""
        if self.match == "exact":
            return frozenset()
        return frozenset({"texts"} if self.match == "text" else {"states"})

    def observe(self, tree: RolloutTree, seen: Seen) -> RolloutTree:
        """Return the tree with the classes of its prefixes."""
        if self.match == "text" and seen.texts is not None:
            return text_classes(tree, seen.texts)
        return hidden_classes(tree, seen.states, self.least_cosine) if self.match == "hidden" else tree

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`. Raises ValueError where its prefixes have no classes but should."""
        field = unassigned(tree)
        leaves = tree.rewarded
        if not leaves:
            return tuple(field)
        trie = tree.trie(leaves)
        classes = None if self.match == "exact" else tree.prefix_classes(leaves, trie)
        if classes is None and self.match != "exact":
            raise ValueError("prefixes have no classes to match by: observe them first (creditree.train.observe)")
        value = trie.means(tree.rewards(leaves), classes)
        gain = value - value[trie.parent]
        for row, leaf in enumerate(leaves):
            scatter(tree, leaf, gain[trie.node_of[row, 1 : trie.lengths[row] + 1]], field, add=False)
        return tuple(field)
