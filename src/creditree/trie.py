"""The token trie: sequences merged wherever their token ids coincide, as arrays in preorder."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_NO_TOKEN = -1


@dataclass(frozen=True, eq=False, slots=True)
class TokenTrie:
    """The prefix tree of S token sequences, K nodes numbered in preorder; node 0 is the empty prefix, the root.

    - `token` [K]: last token of the prefix (-1 at the root);  `parent` [K] (-1 at the root);  `depth` [K]: its length
    - `exit` [K]: the descendants of node n, itself included, are n .. exit[n] - 1
    - `node_of` [S, T + 1]: node of the first t tokens of sequence s, -1 past its end
    - `lengths` [S]
    """

    token: IntArray
    parent: IntArray
    depth: IntArray
    exit: IntArray
    node_of: IntArray
    lengths: IntArray

    def __len__(self) -> int:
        return len(self.token)

    @classmethod
    def of(cls, sequences: Sequence[IntArray]) -> "TokenTrie":
        """Build the trie of `sequences` (token ids >= 0). Time O(S T log S), without a Python loop over tokens."""
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        width = int(lengths.max(initial=0)) + 1
        padded = np.full((len(sequences), width), _NO_TOKEN, dtype=np.int64)
        for row, sequence in zip(padded, sequences, strict=True):
            row[1 : len(sequence) + 1] = sequence
        order = np.lexsort(padded.T[::-1]) if len(sequences) else np.zeros(0, dtype=np.int64)
        rows, ends = padded[order], lengths[order] + 1
        return cls._from_sorted(rows, ends, order, lengths)

    @classmethod
    def _from_sorted(cls, rows: IntArray, ends: IntArray, order: IntArray, lengths: IntArray) -> "TokenTrie":
        columns = np.arange(rows.shape[1])
        inside = columns < ends[:, None]
        shared = np.zeros(len(rows), dtype=np.int64)
        if len(rows) > 1:
            same = (rows[1:] == rows[:-1]) & inside[1:] & inside[:-1]
            shared[1:] = np.where(same.all(axis=1), rows.shape[1], same.argmin(axis=1))
        new = inside & (columns >= shared[:, None])
        ids = np.cumsum(new).reshape(new.shape) - 1
        node_sorted = np.maximum.accumulate(np.where(new, ids, -1), axis=0)
        node_sorted[~inside] = -1
        row_of, depth = np.nonzero(new)
        parent = np.where(depth > 0, node_sorted[row_of, depth - 1], -1)
        last_row = np.zeros(len(depth), dtype=np.int64)
        row_index = np.broadcast_to(np.arange(len(rows))[:, None], inside.shape)
        np.maximum.at(last_row, node_sorted[inside], row_index[inside])
        exit_ = np.cumsum(new.sum(axis=1))[last_row]
        node_of = np.empty_like(node_sorted)
        node_of[order] = node_sorted
        return cls(rows[row_of, depth], parent, depth, exit_, node_of, lengths)

    def below(self, rows: Sequence[int], depth: int) -> "TokenTrie":
        """Return the trie of what follows the first `depth` tokens of sequences `rows`, which share these tokens.

        It is that which `of` makes of those tails, in time O(their nodes), without sorting anything.
        """
        if len(rows) == 0:
            return TokenTrie.of([])
        lengths = self.lengths[list(rows)] - depth
        node_of = self.node_of[list(rows), depth : depth + int(lengths.max()) + 1]
        root = int(node_of[0, 0])
        inside = node_of >= 0
        below = np.zeros(int(self.exit[root]) - root, dtype=np.bool_)  # of the nodes below the root, and of itself
        below[node_of[inside] - root] = True
        before = np.concatenate([[0], np.cumsum(below)])
        nodes = root + np.flatnonzero(below)
        token = np.concatenate([[_NO_TOKEN], self.token[nodes[1:]]])
        parent = np.concatenate([[-1], before[self.parent[nodes[1:]] - root]])
        node_of = np.where(inside, before[np.where(inside, node_of - root, 0)], -1)
        return TokenTrie(token, parent, self.depth[nodes] - depth, before[self.exit[nodes] - root], node_of, lengths)

    @property
    def counts(self) -> IntArray:
        """n(p) [K]: how many sequences start with each prefix."""
        return np.bincount(self.node_of[self.node_of >= 0], minlength=len(self))

    def means(self, values: FloatArray, classes: IntArray | None = None) -> FloatArray:
        """V(p) [K]: the mean of `values` [S] over the sequences that start with each prefix.

        With `classes` [K] (>= 0) of prefixes that count as one: over the sequences that start with any prefix of the
        same class, each once, however many of its prefixes are in it. A class for every prefix changes nothing.
        """
        if classes is not None:
            return self._class_means(values, classes)
        inside = self.node_of >= 0
        spread = np.broadcast_to(values[:, None], self.node_of.shape)
        sums = np.bincount(self.node_of[inside], weights=spread[inside], minlength=len(self))
        return sums / self.counts

    def _class_means(self, values: FloatArray, classes: IntArray) -> FloatArray:
        row, column = np.nonzero(self.node_of >= 0)
        size = int(classes.max()) + 1
        passed = np.unique(row * size + classes[self.node_of[row, column]])
        row, passed = passed // size, passed % size
        counts = np.bincount(passed, minlength=size)
        means = np.bincount(passed, weights=values[row], minlength=size) / np.maximum(counts, 1)
        return np.asarray(means[classes])

    @property
    def num_children(self) -> IntArray:
        """How many different tokens follow each prefix [K]."""
        return np.bincount(self.parent[1:], minlength=len(self))

    def num_next_tokens(self, classes: IntArray) -> IntArray:
        """How many different tokens follow any prefix of the class of each prefix [K]; `classes` [K] >= 0."""
        size = int(self.token.max()) + 1
        followed = np.unique(classes[self.parent[1:]] * size + self.token[1:]) // max(1, size)
        return np.asarray(np.bincount(followed, minlength=int(classes.max()) + 1)[classes])

    @property
    def segment_parent(self) -> IntArray:
        """Last node before the segment of each node [K]; -1 where that is the root, and at the root.

        A segment is a maximal run of prefixes that the same sequences start with.
        """
        counts = self.counts
        index = np.arange(len(self))
        head = (self.parent < 0) | (counts != counts[self.parent])
        above = self.parent[np.maximum.accumulate(np.where(head, index, 0))]
        return np.where(above > 0, above, -1)

    def first_holder(self, among: NDArray[np.bool_] | None = None) -> IntArray:
        """Return for each node the first sequence, in the order given, that starts with its prefix [K].

        `among`: which of the sequences count [S]; where none of them does, S is returned.
        """
        holder = np.full(len(self), len(self.node_of), dtype=np.int64)
        inside = self.node_of >= 0
        if among is not None:
            inside &= among[:, None]
        row_index = np.broadcast_to(np.arange(len(self.node_of))[:, None], inside.shape)
        np.minimum.at(holder, self.node_of[inside], row_index[inside])
        return holder


@dataclass(frozen=True, eq=False, slots=True)
class SharedTrie:
    """The trie of all that a training step sampled; what is asked for again is not cut out of it again.

    `ends` [S]: the tokens that each sequence ends with, in the very arrays in which whoever shares the trie holds them.
    """

    trie: TokenTrie
    ends: Sequence[IntArray]
    _parts: dict[tuple[tuple[int, ...], int], TokenTrie] = field(default_factory=dict)

    def has(self, first: int, lengths: Sequence[int], ends: Sequence[IntArray]) -> bool:
        """Whether sequences from `first` on are still those of such lengths and last tokens: nobody changed them."""
        known = self.ends[first : first + len(ends)]
        same = len(known) == len(ends) and all(one is other for one, other in zip(known, ends, strict=True))
        return same and self.trie.lengths[first : first + len(ends)].tolist() == list(lengths)

    def below(self, rows: Sequence[int], depth: int) -> TokenTrie:
        """Return `TokenTrie.below`."""
        key = tuple(rows), depth
        if key not in self._parts:
            self._parts[key] = self.trie.below(rows, depth)
        return self._parts[key]
