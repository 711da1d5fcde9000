"""The wire format: the only thing the learner sees, whatever the method."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from creditree.fields import ZERO, TokenField
from creditree.tree import FloatArray, Forest, IntArray
from creditree.trie import TokenTrie


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """A skeleton of N tokens, each forwarded once, and M loss terms on it.

    Skeleton, in preorder, tree after tree:
    - `token_ids` [N], `position` [N] (depth in its tree, from 0)
    - `enter` [N] (= 0 .. N-1), `exit` [N]: token i attends to j iff enter[j] <= enter[i] < exit[j]
    Terms:
    - `row` [M]: the skeleton token whose hidden state predicts;  `token` [M]: the token predicted
    - `advantage` [M], `weight` [M] (the method's normaliser included)
    - `old_logprob` [M]: log p when it was sampled, under the softmax that the loss takes
    The loss of an update is sum_m weight[m] * objective(m): nothing else is averaged anywhere.
    """

    token_ids: IntArray
    position: IntArray
    enter: IntArray
    exit: IntArray
    row: IntArray
    token: IntArray
    advantage: FloatArray
    weight: FloatArray
    old_logprob: FloatArray

    @property
    def num_tokens(self) -> int:
        """N: tokens to forward."""
        return len(self.token_ids)

    @property
    def num_terms(self) -> int:
        """M: terms of the loss."""
        return len(self.row)

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
            row=kept_before[self.row[terms]],
            token=self.token[terms],
            advantage=self.advantage[terms],
            weight=self.weight[terms],
            old_logprob=self.old_logprob[terms],
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
) -> Batch:
    """Pack the forests of one update. The weights are divided by `normaliser` (`Selection.normaliser`).

    None: the number of problems, for a mean of per-problem losses. `tempered`: old log-probabilities are those of the
    distribution that was sampled from, for a loss at its temperature; else those of the untempered model.
    A token of weight 0 is no term. One of advantage 0 is a term only if `keep_zero_advantage` (a KL penalty acts on
    it). Trees of one problem share a skeleton: tokens are merged wherever their ids coincide.
    """
    scale = 1.0 / (len(forests) if normaliser is None else normaliser)
    packed = [
        _pack_forest(forest, a, w, scale, keep_zero_advantage, tempered)
        for forest, a, w in zip(forests, advantages, weights, strict=True)
    ]
    return _joined(packed)


def _joined(batches: Sequence[Batch]) -> Batch:
    starts = np.cumsum([0, *(batch.num_tokens for batch in batches)])[:-1]
    in_skeleton = ("enter", "exit", "row")
    columns = {
        item.name: np.concatenate(
            [
                getattr(b, item.name) + (start if item.name in in_skeleton else 0)
                for b, start in zip(batches, starts, strict=True)
            ]
        )
        for item in fields(Batch)
    }
    return Batch(**columns)


@dataclass(frozen=True, eq=False, slots=True)
class _Terms:
    """The terms of one branch: offsets in its sequence (kept tokens included), and their numbers."""

    sequence: IntArray
    offset: IntArray
    advantage: FloatArray
    weight: FloatArray
    old_logprob: FloatArray


def _pack_forest(
    forest: Forest,
    advantages: tuple[TokenField, ...],
    weights: tuple[TokenField, ...],
    scale: float,
    keep_zero_advantage: bool,
    tempered: bool,
) -> Batch:
    found = []
    for tree, tree_advantages, tree_weights in zip(forest, advantages, weights, strict=True):
        for leaf, (a, w) in enumerate(zip(tree_advantages, tree_weights, strict=True)):
            if a is None or w is None:
                continue
            chosen = np.flatnonzero(w != 0 if keep_zero_advantage else (w != 0) & (np.abs(a) > ZERO))
            if len(chosen) == 0:
                continue
            branch = tree.branches[leaf]
            offset = chosen + len(tree.kept_ids) + branch.fork
            sequence = np.concatenate([tree.kept_ids, tree.completion(leaf)])[: offset[-1] + 1]
            old = branch.sampler_logprobs if tempered else branch.logprobs
            found.append(_Terms(sequence, offset, a[chosen], w[chosen] * scale, old[chosen]))
    return _skeleton(forest[0].prompt_ids, found)


def _skeleton(prompt_ids: IntArray, found: list[_Terms]) -> Batch:
    if not found:
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Batch(none, none, none, none, none, none, nothing, nothing, nothing)
    trie = TokenTrie.of([terms.sequence for terms in found])
    # The trie's root is the prompt's last token, so node n > 0 stands at len(prompt) - 1 + n.
    last = len(prompt_ids) - 1
    size = last + len(trie)
    whole = Batch(
        token_ids=np.concatenate([prompt_ids, trie.token[1:]]),
        position=np.concatenate([np.arange(last), last + trie.depth]),
        enter=np.arange(size),
        exit=np.concatenate([np.full(last, size), last + trie.exit]),
        row=np.concatenate([last + trie.node_of[i, terms.offset] for i, terms in enumerate(found)]),
        token=np.concatenate([terms.sequence[terms.offset] for terms in found]),
        advantage=np.concatenate([terms.advantage for terms in found]),
        weight=np.concatenate([terms.weight for terms in found]),
        old_logprob=np.concatenate([terms.old_logprob for terms in found]),
    )
    return whole.restricted(np.ones(whole.num_terms, dtype=np.bool_))
