"""Attention over a token tree: each token sees its ancestors, block by block, so that memory never grows as N^2."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from creditree.models.arrays import on_device
from creditree.models.flex import FEWEST_PAIRS, FlexBlocks, flex_works
from creditree.tree import IntArray

BLOCK_SIZES = (32, 64, 128, 256)
"""Most queries of a block: the size that computes the fewest pairs is taken. Ours."""
BLOCK_COST = 4096
"""Pairs of query and key that take as long as gathering one more block. Ours, measured on one CPU core."""
DENSE_TOKENS = 64
"""With no more queries and keys than this, one block holds all."""

KeysValues = tuple[Tensor, Tensor]
"""Keys and values [1, H_kv, n, D] of one layer."""


@dataclass(frozen=True, eq=False, slots=True)
class TreeTokens:
    """Tokens of a tree in preorder: token i sees token j iff enter[j] <= enter[i] < exit[j]."""

    enter: IntArray
    exit: IntArray

    def __len__(self) -> int:
        return len(self.enter)

    def at(self, places: IntArray) -> "TreeTokens":
        """Return some of them."""
        return TreeTokens(self.enter[places], self.exit[places])


@dataclass(frozen=True, eq=False, slots=True)
class Blocks:
    """Queries in B blocks, each with the keys that any of its queries sees, padded to Q queries and K keys.

    `query` [B * Q] and `key` [B * K]: indices;  `place` [n]: where in B * Q a query is; all None for one block of all
    in order.  `bias` [B, 1, shared * Q, K]: 0 where a query may look, else -inf, once for each of the `shared` query
    heads of a key head. A padded query repeats a real one.
    """

    query: Tensor | None
    key: Tensor | None
    place: Tensor | None
    bias: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return softmax(scaling Q K^T + bias) V [1, H, n, D] of queries [1, H, n, D], keys and values [1, H_kv, m, D].

        The query heads that share keys are folded into the query axis: keys and values are never repeated.
        """
        heads, groups, size = query.shape[1], key.shape[1], query.shape[3]
        if self.query is None or self.key is None or self.place is None:
            folded = query.reshape(1, groups, -1, size)
            out = scaled_dot_product_attention(folded, key, value, attn_mask=self.bias, scale=scaling)
            return out.reshape(1, heads, -1, size)  # fused kernels lay their output out in ways of their own
        blocks = len(self.bias)
        gathered = (
            query.squeeze(0).transpose(0, 1).index_select(0, self.query).view(blocks, -1, groups, heads // groups, size)
        )
        folded = gathered.permute(0, 2, 3, 1, 4).reshape(blocks, groups, -1, size)
        key, value = (
            both.squeeze(0).transpose(0, 1).index_select(0, self.key).view(blocks, -1, groups, size).transpose(1, 2)
            for both in (key, value)
        )
        out = scaled_dot_product_attention(folded, key, value, attn_mask=self.bias, scale=scaling)
        apart = out.reshape(blocks, groups, heads // groups, -1, size)
        unfolded = apart.permute(0, 3, 1, 2, 4).reshape(-1, heads, size)
        return unfolded.index_select(0, self.place).transpose(0, 1).unsqueeze(0)


def blocks_of(
    queries: TreeTokens, keys: TreeTokens, shared: int, like: Tensor, starts: IntArray | None = None
) -> Blocks:
    """Return blocks for queries in preorder, and keys in any order; dtype and device as of `like`.

    `starts`: the first query of each block, where `block_starts` was asked before.
    """
    starts = block_starts(queries, keys) if starts is None else starts
    if len(starts) <= 1:
        return Blocks(None, None, None, _bias(keys.enter[None], keys.exit[None], queries.enter[None], shared, like))
    stops = np.append(starts[1:], len(queries))
    lengths = stops - starts
    query = np.minimum(starts[:, None] + np.arange(int(lengths.max())), stops[:, None] - 1)
    # a key is of use to a block if its interval meets that of the block's queries
    first, last = queries.enter[starts][:, None], queries.enter[stops - 1][:, None]
    block, index = np.nonzero((keys.enter <= last) & (keys.exit > first))
    counts = np.bincount(block, minlength=len(starts))
    key = np.zeros((len(starts), int(counts.max())), dtype=np.int64)
    key[block, np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)] = index
    is_real = np.arange(key.shape[1]) < counts[:, None]
    exits = np.where(is_real, keys.exit[key], 0)  # what fills a block up is seen by none
    place = np.arange(len(queries)) + np.repeat(np.arange(len(starts)) * query.shape[1] - starts, lengths)
    queried, attended, places = (on_device(array.reshape(-1), like.device) for array in (query, key, place))
    bias = _bias(keys.enter[key], exits, queries.enter[query], shared, like)
    return Blocks(queried, attended, places, bias)


def block_starts(queries: TreeTokens, keys: TreeTokens) -> IntArray:
    """Return the first query of each block: of the cuts that are tried, the one that computes the fewest pairs.

    A block holds whole chains (runs that no branch interrupts) as far as they fit; a longer chain is cut evenly.
    """
    best = np.zeros(1, dtype=np.int64)
    if max(len(queries), len(keys)) <= DENSE_TOKENS:
        return best
    chains, seen = _chain_starts(queries), num_seen(queries, keys)
    least = len(queries) * len(keys) + BLOCK_COST
    for size in BLOCK_SIZES:
        starts = _cut(chains, len(queries), size)
        cost = _padded_pairs(starts, len(queries), seen) + len(starts) * BLOCK_COST
        if cost < least:
            best, least = starts, cost
    return best


def num_pairs(queries: TreeTokens, keys: TreeTokens, starts: IntArray) -> int:
    """Return how many pairs of query and key the blocks that begin at `starts` compute, padding included."""
    if len(starts) <= 1:
        return len(queries) * len(keys)
    return _padded_pairs(starts, len(queries), num_seen(queries, keys))


def _padded_pairs(starts: IntArray, count: int, seen: IntArray) -> int:
    lengths = np.diff(np.append(starts, count))
    return len(starts) * int(lengths.max()) * int((seen[starts] + lengths).max())


def _chain_starts(tokens: TreeTokens) -> IntArray:
    """Return where a token does not see the one before it."""
    breaks = tokens.exit[:-1] <= tokens.enter[1:]
    return np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(breaks) + 1])


def num_seen(queries: TreeTokens, keys: TreeTokens) -> IntArray:
    """Return how many keys each query sees: those that have begun, less those that have ended."""
    ended = np.searchsorted(np.sort(keys.exit), queries.enter, side="right")
    begun = np.searchsorted(np.sort(keys.enter), queries.enter, side="right")
    return np.asarray(begun - ended)


def _cut(chains: IntArray, count: int, size: int) -> IntArray:
    starts: list[int] = []
    filled = size  # of the block under way
    for start, stop in zip(chains.tolist(), [*chains[1:].tolist(), count], strict=True):
        length = stop - start
        if filled + length <= size:
            filled += length
            continue
        pieces = -(-length // size)
        starts += [start + length * piece // pieces for piece in range(pieces)]
        filled = stop - starts[-1]
    return np.array(starts, dtype=np.int64)


def _bias(enter: IntArray, exit: IntArray, asking: IntArray, shared: int, like: Tensor) -> Tensor:
    """Return 0 where a query [B, Q] sees a key [B, K], else -inf: compared on the device, to which the indices go."""
    # half as wide as indices: what is compared are the largest arrays here
    begin, end, at = (on_device(array.astype(np.int32), like.device) for array in (enter, exit, asking))
    at = at.unsqueeze(2)
    sees = (begin.unsqueeze(1) <= at) & (at < end.unsqueeze(1))
    bias = torch.zeros(sees.shape, dtype=like.dtype, device=like.device).masked_fill_(~sees, -torch.inf)
    return bias.repeat(1, shared, 1).unsqueeze(1)


class TreeShape:
    """Which tokens go through the layers together, and what they see: made once, used by every pass over them.

    `tokens` [n], in preorder;  `rows`: places among them that the last layer is asked for;  `above`: tokens forwarded
    before, whose keys and values they also see.
    """

    def __init__(self, tokens: TreeTokens, rows: IntArray, above: Sequence[TreeTokens], shared: int) -> None:
        self.tokens, self._rows, self._shared = tokens, rows, shared
        parts = (*above, tokens)
        self._keys = TreeTokens(
            np.concatenate([part.enter for part in parts]), np.concatenate([part.exit for part in parts])
        )
        self._made: dict[bool, Blocks | FlexBlocks] = {}

    def blocks(self, query: Tensor) -> Blocks | FlexBlocks:
        """Return blocks for all tokens' queries [1, H, n, D] or, if there are fewer, those of the rows."""
        whole = query.shape[2] == len(self.tokens)
        if whole not in self._made:
            queries = self.tokens if whole else self.tokens.at(self._rows)
            self._made[whole] = self._make(queries, query)
        return self._made[whole]

    def _make(self, queries: TreeTokens, query: Tensor) -> Blocks | FlexBlocks:
        starts = block_starts(queries, self._keys)
        many = num_pairs(queries, self._keys, starts) >= FEWEST_PAIRS
        if many and flex_works(query.device, query.dtype, query.shape[3]):
            return FlexBlocks(queries.enter, self._keys.enter, self._keys.exit, query.device)
        return blocks_of(queries, self._keys, self._shared, query, starts)


@dataclass(frozen=True, eq=False, slots=True)
class TreePlan:
    """Attention of tokens that go through the layers together: each sees its ancestors, among them or `above`.

    `above`: keys and values by layer of the shape's tokens above, in their order.  `kept`, where there is one, receives
    those of the shape's own tokens.
    """

    shape: TreeShape
    above: Sequence[dict[int, KeysValues]] = ()
    kept: dict[int, KeysValues] | None = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [1, H, n, D], or [1, H, r, D] where only the rows' queries are given."""
        if self.kept is not None:
            self.kept[layer] = key, value
        if query.shape[2] == 0:
            return query
        if self.above:
            key = torch.cat([*(level[layer][0] for level in self.above), key], dim=2)
            value = torch.cat([*(level[layer][1] for level in self.above), value], dim=2)
        return self.shape.blocks(query).attend(query, key, value, scaling)
