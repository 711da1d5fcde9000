"""The wire format: the only thing the learner sees, whatever the method."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from creditree.fields import TokenField, is_signal
from creditree.forest import forest_trie
from creditree.tree import FloatArray, Forest, IntArray, RolloutTree
from creditree.trie import TokenTrie


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """A skeleton of N tokens, each forwarded once, and M loss terms on it.

    Skeleton, in preorder, tree after tree:
    - `token_ids` [N], `position` [N] (depth in its tree, from 0)
    - `enter` [N] (= 0 .. N-1), `exit` [N]: token i attends to j iff enter[j] <= enter[i] < exit[j]
    - `handles` [N]: the engine's, of what it keeps of each token (`Branch.handles`)
    Terms:
    - `row` [M]: the skeleton token whose hidden state predicts;  `token` [M]: the token predicted
    - `advantage` [M], `weight` [M] (the method's normaliser included)
    - `sampler_logprob` [M]: log p as the engine that sampled it says, under the softmax that the loss takes
    - `old_logprob` [M]: log p under the policy before the update; the engine's word for it, unless a branch says more
    - `fresh` [M]: whether no update was made between sampling and learning
    - `sequence` [M]: which branch the token is of, counted through all trees
    The loss of an update is sum_m weight[m] * objective(m): nothing else is averaged anywhere.
    """

    token_ids: IntArray
    position: IntArray
    enter: IntArray
    exit: IntArray
    handles: IntArray
    row: IntArray
    token: IntArray
    advantage: FloatArray
    weight: FloatArray
    sampler_logprob: FloatArray
    old_logprob: FloatArray
    fresh: NDArray[np.bool_]
    sequence: IntArray

    @property
    def num_tokens(self) -> int:
        """N: tokens to forward."""
        return len(self.token_ids)

    @property
    def num_terms(self) -> int:
        """M: terms of the loss."""
        return len(self.row)

    @property
    def has_signal(self) -> bool:
        """Whether any term has an advantage."""
        return bool(np.any(is_signal(self.advantage)))

    def restricted(self, terms: NDArray[np.bool_]) -> "Batch":
        """Return the batch of the chosen terms, its skeleton cut down to their rows and the ancestors of these."""
        is_row = np.zeros(self.num_tokens, dtype=np.int64)
        is_row[self.row[terms]] = 1
        rows_before = np.concatenate([[0], np.cumsum(is_row)])
        keep = rows_before[self.exit] > rows_before[self.enter]
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Batch(
            token_ids=self.token_ids[keep],
            position=self.position[keep],
            enter=np.arange(int(keep.sum())),
            exit=kept_before[self.exit[keep]],
            handles=self.handles[keep],
            row=kept_before[self.row[terms]],
            token=self.token[terms],
            advantage=self.advantage[terms],
            weight=self.weight[terms],
            sampler_logprob=self.sampler_logprob[terms],
            old_logprob=self.old_logprob[terms],
            fresh=self.fresh[terms],
            sequence=self.sequence[terms],
        )

    @property
    def parent(self) -> IntArray:
        """Index of the token before each token [N]; -1 at the first of a prompt."""
        index = np.arange(self.num_tokens)
        parent = index - 1
        away = index[1:][self.exit[:-1] <= index[1:]]
        if len(away) == 0:
            return parent
        # the last token before it that is one step less deep: depth first, index second
        order = np.lexsort((index, self.position))
        ranked = (self.position * self.num_tokens + index)[order]
        wanted = (self.position[away] - 1) * self.num_tokens + away
        parent[away] = order[np.searchsorted(ranked, wanted) - 1]
        parent[self.position == 0] = -1
        return parent


def pack(
    forests: Sequence[Forest],
    advantages: Sequence[tuple[TokenField, ...]],
    weights: Sequence[tuple[TokenField, ...]],
    *,
    keep_zero_advantage: bool,
    normaliser: float | None = None,
    tempered: bool = False,
    penalised: Sequence[Sequence[TokenField] | None] | None = None,
) -> Batch:
    """Pack the forests of one update. The weights are divided by `normaliser` (`Selection.normaliser`).

    None: the number of problems, for a mean of per-problem losses. `tempered`: the engine's log-probabilities are those
    of the distribution that was sampled from, for a loss at its temperature; else those of the untempered model.
    A token of weight 0 is no term. One of advantage 0 is a term only if `keep_zero_advantage` (a KL penalty acts on
    it). `penalised` (`Selection.penalised`): a token of weight 0 that has a weight there is a term of that weight and
    of advantage 0, for the penalty alone. Trees of one problem share a skeleton: tokens are merged wherever their ids
    coincide.
    """
    scale = 1.0 / (len(forests) if normaliser is None else normaliser)
    if penalised is not None:
        pairs = [_with_penalty(*fields) for fields in zip(advantages, weights, penalised, strict=True)]
        advantages, weights = [a for a, _ in pairs], [w for _, w in pairs]
    packed = [
        _pack_forest(forest, a, w, scale, keep_zero_advantage, tempered)
        for forest, a, w in zip(forests, advantages, weights, strict=True)
    ]
    return _joined(packed)


ForestFields = tuple[TokenField, ...]


def _with_penalty(
    advantages: ForestFields, weights: ForestFields, penalised: Sequence[TokenField] | None
) -> tuple[ForestFields, ForestFields]:
    """Return the fields with the tokens that only a penalty acts on: advantage 0, and its weight."""
    if penalised is None:
        return advantages, weights
    pairs = [
        [
            (a, w) if a is None or w is None or p is None else (np.where(w == 0, 0.0, a), np.where(w == 0, p, w))
            for a, w, p in zip(*of_tree, strict=True)
        ]
        for of_tree in zip(advantages, weights, penalised, strict=True)
    ]
    return tuple(tuple(a for a, _ in of_forest) for of_forest in pairs), tuple(
        tuple(w for _, w in of_forest) for of_forest in pairs
    )


def _joined(batches: Sequence[Batch]) -> Batch:
    starts = np.cumsum([0, *(batch.num_tokens for batch in batches)])[:-1]
    counted = np.cumsum([0, *(batch.sequence.max(initial=-1) + 1 for batch in batches)])[:-1]
    before = dict.fromkeys(("enter", "exit", "row"), starts) | {"sequence": counted}
    columns = {
        item.name: np.concatenate(
            [
                getattr(b, item.name) + before[item.name][i] if item.name in before else getattr(b, item.name)
                for i, b in enumerate(batches)
            ]
        )
        for item in fields(Batch)
    }
    return Batch(**columns)


@dataclass(frozen=True, eq=False, slots=True)
class _Terms:
    """The terms of one completion, `leaf` of tree `tree`: offsets behind the prompt, and their numbers."""

    tree: int
    leaf: int
    offset: IntArray
    advantage: FloatArray
    weight: FloatArray
    sampler_logprob: FloatArray
    old_logprob: FloatArray
    fresh: bool


def _pack_forest(
    forest: Forest,
    advantages: tuple[TokenField, ...],
    weights: tuple[TokenField, ...],
    scale: float,
    keep_zero_advantage: bool,
    tempered: bool,
) -> Batch:
    chosen_terms = []
    for number, (tree, tree_advantages, tree_weights) in enumerate(zip(forest, advantages, weights, strict=True)):
        for leaf, (a, w) in enumerate(zip(tree_advantages, tree_weights, strict=True)):
            if a is None or w is None:
                continue
            chosen = np.flatnonzero(w != 0 if keep_zero_advantage else (w != 0) & is_signal(a))
            if len(chosen) == 0:
                continue
            branch = tree.branches[leaf]
            offset = chosen + len(tree.kept_ids) + branch.fork
            said = branch.sampler_logprobs if tempered else branch.logprobs
            fresh = branch.old_logprobs is None
            old = said if branch.old_logprobs is None else branch.old_logprobs
            chosen_terms.append(
                _Terms(number, leaf, offset, a[chosen], w[chosen] * scale, said[chosen], old[chosen], fresh)
            )
    return _skeleton(forest, chosen_terms)


def _skeleton(forest: Forest, of_leaves: list[_Terms]) -> Batch:
    if not of_leaves:
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        unsaid = np.zeros(0, dtype=np.bool_)
        return Batch(none, none, none, none, none, none, none, nothing, nothing, nothing, nothing, unsaid, none)
    prompt_ids = forest[0].prompt_ids
    trie = forest_trie(forest, [(terms.tree, terms.leaf) for terms in of_leaves])
    # The trie's root is the prompt's last token, so node n > 0 stands at len(prompt) - 1 + n.
    last = len(prompt_ids) - 1
    size = last + len(trie)
    predicted = np.concatenate([trie.node_of[i, terms.offset + 1] for i, terms in enumerate(of_leaves)])
    whole = Batch(
        token_ids=np.concatenate([prompt_ids, trie.token[1:]]),
        position=np.concatenate([np.arange(last), last + trie.depth]),
        enter=np.arange(size),
        exit=np.concatenate([np.full(last, size), last + trie.exit]),
        handles=_handles([forest[terms.tree] for terms in of_leaves], of_leaves, trie),
        row=np.concatenate([last + trie.node_of[i, terms.offset] for i, terms in enumerate(of_leaves)]),
        token=trie.token[predicted],
        advantage=np.concatenate([terms.advantage for terms in of_leaves]),
        weight=np.concatenate([terms.weight for terms in of_leaves]),
        sampler_logprob=np.concatenate([terms.sampler_logprob for terms in of_leaves]),
        old_logprob=np.concatenate([terms.old_logprob for terms in of_leaves]),
        fresh=np.concatenate([np.full(len(terms.offset), terms.fresh) for terms in of_leaves]),
        sequence=np.repeat(np.arange(len(of_leaves)), [len(terms.offset) for terms in of_leaves]),
    )
    return whole.restricted(np.ones(whole.num_terms, dtype=np.bool_))


def _handles(trees: Sequence[RolloutTree], of_leaves: Sequence[_Terms], trie: TokenTrie) -> IntArray:
    """Return the engine's handles of the prompt and the nodes of a trie: the newest of whoever holds a token."""
    before = len(trees[0].prompt_ids) - 1
    handles = np.zeros(before + len(trie), dtype=np.int64)
    for tree, terms, nodes, length in zip(trees, of_leaves, trie.node_of, trie.lengths, strict=True):
        known = tree.branches[terms.leaf].handles
        if known is not None:
            places = np.concatenate([np.arange(before), before + nodes[: length + 1]])
            handles[places] = np.maximum(handles[places], known)
    return handles
