"""Cut a batch into shards that take about the same time, and work into pieces that workers take from a queue."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from creditree.batch import Batch
from creditree.tree import IntArray

EVEN = 1.1
"""The heaviest shard may have this times the mean: cutting trees further would forward their prefixes once more."""
MOST_CUTS = 64


@dataclass(frozen=True, slots=True)
class _Subtree:
    """Skeleton tokens [start, stop): the subtree at `root`, and the run of tokens before it that it brings along."""

    start: int
    root: int
    stop: int


def shards_of(batch: Batch, count: int) -> list[IntArray]:
    """Return the terms of a batch in at most `count` shards, whose skeletons have about the same number of tokens.

    Trees stay whole where they can; one that is too heavy is cut into its subtrees, and the tokens above them are
    forwarded in each shard that holds one. It depends on batch and count alone, and so does the order of the shards.
    """
    subtrees = _roots(batch)
    best = _dealt(batch, subtrees, count)
    even = EVEN * sum(_cost(batch, subtree) for subtree in subtrees) / count
    for _ in range(MOST_CUTS):
        heaviest = max(best, key=lambda shard: _load(batch, shard))
        if _load(batch, heaviest) <= even:
            break
        parts = [(subtree, _cut(batch, subtree)) for subtree in heaviest]
        largest, cut = max(parts, key=lambda pair: _cost(batch, pair[0]) if len(pair[1]) > 1 else 0)
        if len(cut) < 2:
            break
        subtrees = [subtree for subtree in subtrees if subtree != largest] + cut
        dealt = _dealt(batch, subtrees, count)
        if _most(batch, dealt) > _most(batch, best):
            break
        best = dealt
    shards = [_terms(batch, shard) for shard in best if shard]
    return [terms for terms in shards if len(terms)]


def _roots(batch: Batch) -> list[_Subtree]:
    roots, at = [], 0
    while at < batch.num_tokens:
        roots.append(_Subtree(at, at, int(batch.exit[at])))
        at = roots[-1].stop
    return roots


def _cut(batch: Batch, subtree: _Subtree) -> list[_Subtree]:
    """Return the subtrees below the first branching; the first of them brings along the run that leads there."""
    inside = batch.exit[subtree.root : subtree.stop]
    if not (inside != subtree.stop).any():
        return [subtree]
    at = subtree.root + int(np.argmax(inside != subtree.stop))
    below, start = [], subtree.start
    while at < subtree.stop:
        below.append(_Subtree(start, at, int(batch.exit[at])))
        start = at = below[-1].stop
    return below


def _cost(batch: Batch, subtree: _Subtree) -> int:
    """Return the tokens that a subtree takes to forward: its own, and those above it."""
    return subtree.stop - subtree.start + int(batch.position[subtree.start])


def _load(batch: Batch, shard: Sequence[_Subtree]) -> int:
    return sum(_cost(batch, subtree) for subtree in shard)


def _most(batch: Batch, shards: Sequence[Sequence[_Subtree]]) -> int:
    return max(_load(batch, shard) for shard in shards)


def _dealt(batch: Batch, subtrees: Sequence[_Subtree], count: int) -> list[list[_Subtree]]:
    """Return the subtrees in shards: the heaviest first, each to the shard that has least so far."""
    shards: list[list[_Subtree]] = [[] for _ in range(count)]
    loads = [0] * count
    for subtree in sorted(subtrees, key=lambda own: (-_cost(batch, own), own.start)):
        least = loads.index(min(loads))
        shards[least].append(subtree)
        loads[least] += _cost(batch, subtree)
    return shards


def _terms(batch: Batch, shard: Sequence[_Subtree]) -> IntArray:
    """Return the terms whose rows stand in a shard, ascending."""
    is_own = np.zeros(batch.num_tokens, dtype=np.bool_)
    for subtree in shard:
        is_own[subtree.start : subtree.stop] = True
    return np.flatnonzero(is_own[batch.row])


def shard(batch: Batch, terms: IntArray) -> Batch:
    """Return the batch of some terms, without the handles of an engine that another process has."""
    chosen = np.zeros(batch.num_terms, dtype=np.bool_)
    chosen[terms] = True
    own = batch.restricted(chosen)
    own.handles[:] = 0
    return own


def pieces_of(tokens: Sequence[int], rows: Sequence[int], workers: int, good_rows: int) -> list[list[int]]:
    """Return the indices of some work in pieces for a queue: the longest first, the pieces smaller towards the end.

    `tokens`: what each is expected to take;  `rows`: completions that it decodes at once;  `good_rows`: completions of
    a piece below which decoding takes as long as for so many. Factoring (Hummel, Schonberg and Flynn, CACM 35, 1992):
    each round deals half of what is left to the workers, so that whoever was fast or lucky takes more of the rest.
    It depends on its arguments alone, so that pieces are the same whoever is fast.
    """
    left = deque(sorted(range(len(tokens)), key=lambda index: (-tokens[index], index)))
    least, rest = min(good_rows, ceil(sum(rows) / workers)), sum(tokens)
    pieces: list[list[int]] = []
    while left:
        target = max(1, ceil(rest / (2 * workers)))
        for _ in range(workers):
            piece: list[int] = []
            taken = decoded = 0
            while left and (taken < target or decoded < least):
                piece.append(left.popleft())
                taken += tokens[piece[-1]]
                decoded += rows[piece[-1]]
            pieces += [piece] if piece else []
            rest -= taken
    return pieces
