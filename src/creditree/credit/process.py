"""Process value: global and local advantage of each segment of a tree (TreeRL 2506.11902; AttnRL 2509.26628, eq. 3)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from creditree.credit.base import Credit
from creditree.errors import ConfigError
from creditree.fields import TokenField, scatter, unassigned
from creditree.piece import number
from creditree.tree import FloatArray, IntArray, RolloutTree

Value = Literal["leaves", "children"]
RootValue = Literal["mean", "leave_one_out"]
Weighting = Literal["after", "before"]
Unexpanded = Literal["drop", "keep"]

SAME = 1e-8
"""TreeRL's code takes a local advantage of less than this for none."""


def process_value(
    tree: RolloutTree,
    *,
    value: Value = "leaves",
    root: RootValue = "mean",
    weighting: Weighting = "after",
    unexpanded: Unexpanded = "drop",
    unfinished: float | None = None,
    merged: bool = False,
) -> TokenField:
    """Return A(s) = (GA(s) + LA(s)) / sqrt(|L(s)|) for every token of each span s.

    L(s) are the leaves below s that have a reward, V(s) their mean reward, GA(s) = V(s) - V(root), LA(s) = V(s) -
    V(parent of s). Leaves without a reward neither give nor get credit.

    `value`: V(s) is the mean over the ``leaves`` below (the authors' code), or over the ``children`` of s, whose values
    are means in turn (as printed), V(root) included.
    `root`: V(root) is the ``mean`` over all leaves of the tree; or ``leave_one_out``: each leaf is compared with the
    mean of the others before anything else (TreeRL), which multiplies rewards less the mean, and so A, by n / (n - 1).
    `weighting`: ``after`` the differences, as above; ``before`` (TreeRL's code): U(s) = GA(s) / sqrt(|L(s)|), local(s)
    = U(s) - U(parent of s), which is that of the parent where it is smaller than 1e-8, and A(s) = local(s) + U(s).
    `unexpanded`: chains that nothing forks from get no advantage (``drop``: AttnRL's code; they count in V(root)), or
    as any leaf ``keep`` A = 2 (R - V(root)).
    `unfinished`: advantage of the tokens that only completions without an end hold (TreeRL's code: -1).
    `merged`: spans are those of the token trie, completions merged wherever their token ids coincide; then A depends on
    prefix and token alone.
    """
    field = unassigned(tree)
    leaves = np.array(tree.rewarded, dtype=np.int64)
    if not len(leaves):
        return tuple(field)
    rewards = tree.rewards(leaves.tolist())
    centred = rewards - rewards.mean()
    if np.ptp(rewards) == 0.0:
        centred = np.zeros(len(rewards))
    elif root == "leave_one_out":
        centred *= len(rewards) / (len(rewards) - 1)
    before = weighting == "before"
    if merged:
        _fill_merged(tree, field, leaves, centred, before=before)
    else:
        _fill(tree, field, leaves, centred, by_children=value == "children", before=before)
    if unfinished is not None:
        _penalise(tree, field, unfinished)
    if unexpanded == "drop":
        forked = set(tree.forked)
        field = [values if index in forked else None for index, values in enumerate(field)]
    return tuple(field)


@dataclass(frozen=True)
class ProcessValue(Credit):
    """Global and local advantage of each segment of a tree: `process_value` says how."""

    value: Value = number("leaves", "a segment's value is the mean of these")
    root: RootValue = number("mean", "what completions are compared with")
    weighting: Weighting = number("after", "1 / sqrt(leaves) after the differences, or before")
    unexpanded: Unexpanded = number("drop", "whether completions that nothing forks from learn")
    unfinished: float | None = number(None, "advantage of completions without an end; none: as any other")
    merged: bool = number(False, "segments of completions merged by their tokens")
    name: ClassVar[str] = "process_value"
    paper: ClassVar[str] = "arXiv 2506.11902; 2509.26628"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merged and self.value == "children":
            raise ConfigError(
                "method.value 'children' is defined on forks, and method.merged merges completions that were never "
                "forked; set value: leaves, or merged: false."
            )
        if self.merged and (self.unfinished is not None or self.unexpanded == "drop"):
            raise ConfigError(
                "method.merged gives equal pairs of prefix and token equal advantages, which method.unfinished and "
                "method.unexpanded 'drop' take away again from some branches; set unexpanded: keep and leave "
                "unfinished out, or set merged: false."
            )

    @property
    def per_pair(self) -> bool:
        """Whether the spans are those of the token trie."""
        return self.merged

    @property
    def needs_forks(self) -> str | None:
        """Why chains alone teach nothing where those that nothing forks from are dropped."""
        if self.unexpanded == "keep":
            return None
        return (
            "method.unexpanded 'drop' takes the advantage from completions that nothing forks from, so nothing would "
            "be learned; set unexpanded: keep, or explore: attention"
        )

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`."""
        return process_value(
            tree,
            value=self.value,
            root=self.root,
            weighting=self.weighting,
            unexpanded=self.unexpanded,
            unfinished=self.unfinished,
            merged=self.merged,
        )


def _fill_merged(
    tree: RolloutTree, field: list[FloatArray | None], leaves: IntArray, centred: FloatArray, *, before: bool
) -> None:
    trie = tree.trie(leaves.tolist())
    advantages = _advantages(trie.means(centred), trie.counts, trie.segment_parent, before=before)
    for row, leaf in enumerate(leaves.tolist()):
        scatter(tree, leaf, advantages[trie.node_of[row, 1 : trie.lengths[row] + 1]], field, add=False)


def _fill(
    tree: RolloutTree,
    field: list[FloatArray | None],
    leaves: IntArray,
    centred: FloatArray,
    *,
    by_children: bool,
    before: bool,
) -> None:
    spans = tree.spans()
    row_of = np.full(len(tree.branches), -1)
    row_of[leaves] = np.arange(len(leaves))
    owner = np.repeat(np.arange(len(spans)), [len(span.leaves) for span in spans])
    rows = row_of[np.concatenate([span.leaves for span in spans])]
    owner, rows = owner[rows >= 0], rows[rows >= 0]
    counts = np.bincount(owner, minlength=len(spans))
    values = np.bincount(owner, weights=centred[rows], minlength=len(spans)) / np.maximum(counts, 1)
    parents = np.array([-1 if span.parent is None else span.parent for span in spans])
    if by_children:
        values = _means_of_children(values, counts, parents)
    for span, advantage in zip(spans, _advantages(values, counts, parents, before=before), strict=True):
        of_branch = field[span.branch]
        if of_branch is not None:
            of_branch[span.start : span.stop] = advantage


def _means_of_children(values: FloatArray, counts: IntArray, parents: IntArray) -> FloatArray:
    """Return V(s) - V(root) [S], each V the mean over children that have a judged leaf; segments without any keep V."""
    judged = counts > 0
    total, children = np.zeros(len(values) + 1), np.zeros(len(values) + 1)
    mended = values.copy()
    for segment in reversed(np.flatnonzero(judged)):
        if children[segment]:
            mended[segment] = total[segment] / children[segment]
        total[parents[segment]] += mended[segment]
        children[parents[segment]] += 1
    return np.asarray(mended - total[-1] / max(children[-1], 1))


def _advantages(values: FloatArray, counts: IntArray, parents: IntArray, *, before: bool) -> FloatArray:
    """Return A [S] of segments in an order that has parents first; -1 is the root, whose centred value is 0."""
    inner = parents >= 0
    roots = np.sqrt(np.maximum(counts, 1))
    above = np.where(inner, values[parents], 0.0)
    if not before:
        return np.where(counts > 0, (2.0 * values - above) / roots, 0.0)
    weighted = values / roots
    local = weighted - np.where(inner, weighted[parents], 0.0)
    for segment in np.flatnonzero(inner & (np.abs(local) < SAME)):
        local[segment] = local[parents[segment]]
    return np.where(counts > 0, local + weighted, 0.0)


def _penalise(tree: RolloutTree, field: list[FloatArray | None], advantage: float) -> None:
    for span in tree.spans():
        of_branch = field[span.branch]
        judged = [leaf for leaf in span.leaves if tree.branches[leaf].reward is not None]
        if of_branch is not None and judged and all(tree.branches[leaf].finish_reason != "stop" for leaf in judged):
            of_branch[span.start : span.stop] = advantage
