"""Decoding with a row for each different prefix, for a block of steps at a time.

Within a block a row goes on with the token that most of the completions on it drew (see `DecodeStep`). One that drew
another token keeps it, and waits for the end of the block, where it gets a row of its own, or shares one with those
that came to the same prefix. So each different prefix is forwarded once, and the host looks at what was drawn once a
block; what it costs is that completions wait.
"""

from dataclasses import dataclass

import numpy as np

from creditree.engines.completions import Completions, Live
from creditree.engines.static.buffers import Load
from creditree.engines.static.grid import Grid, length_bucket, row_bucket
from creditree.engines.static.keep import collect, keep
from creditree.engines.static.merge import place
from creditree.engines.static.steps import Steps
from creditree.engines.store import PrefixStore
from creditree.tree import IntArray

BLOCK = 16
"""Columns of a block: the token to begin with, and those drawn."""
_FEWEST_ROWS = 8


@dataclass(slots=True)
class _Standing:
    """Completions that go on [m]: their tokens but the last one are in the store, the last one is to be forwarded.

    `path` [m, L]: slots of context and completion;  `length` [m].
    """

    which: IntArray
    path: IntArray
    length: IntArray

    def of(self, going: IntArray) -> "_Standing":
        """Return some of them."""
        return _Standing(self.which[going], self.path[going], self.length[going])


def decode_shared(steps: Steps, store: PrefixStore, completions: Completions, live: Live, ends: IntArray) -> int:
    """Draw every completion to its end; return how many different prefixes were forwarded.

    `ends`: the tokens that end a completion.
    """
    shape = _Shape.of(completions, live)
    standing = _begin(steps, store, completions, live, shape)
    forwarded = 0
    while True:
        last = completions.tokens[standing.which, completions.drawn[standing.which] - 1]
        stopped = np.isin(last, ends)
        completions.stopped[standing.which] = stopped
        going = ~stopped & (completions.drawn[standing.which] < completions.budget[standing.which])
        completions.beat()
        standing = standing.of(np.flatnonzero(going))
        if not len(standing.which):
            return forwarded
        forwarded += _block(steps, store, completions, standing, shape)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the grids of a call have in common: few steps are recorded. `most`: rows at most."""

    context: int
    members: int
    most: int

    @classmethod
    def of(cls, completions: Completions, live: Live) -> "_Shape":
        """Return the shape of a call; its rows take no more memory than rows apart would."""
        members, length = row_bucket(len(live.which), 1), completions.tokens.shape[1]
        context = length_bucket(int(live.length.max()) + length)
        apart = members * length_bucket(length)
        most = max(_FEWEST_ROWS, min(members, apart // (context + BLOCK)))
        return cls(context, members, 1 << (most.bit_length() - 1))

    def grid(self, rows: int) -> Grid:
        """Return the grid for so many rows: their number doubles."""
        size = max(_FEWEST_ROWS, 1 << (rows - 1).bit_length())
        return Grid(size, 1, self.context, BLOCK, self.members)


def _begin(steps: Steps, store: PrefixStore, completions: Completions, live: Live, shape: _Shape) -> _Standing:
    """Draw the first token of every completion, from the states of the contexts."""
    for start in range(0, len(live.slot), shape.most):
        mine = np.flatnonzero((live.row >= start) & (live.row < start + shape.most))
        which, part = live.which[mine], slice(start, start + shape.most)
        buffers = steps.buffers(shape.grid(len(live.slot[part])))
        place_of, row = np.arange(len(mine)), live.row[mine] - start
        budget, uniform = completions.budget[which], completions.uniform[which, :1]
        buffers.fill(Load(live.read[part], live.length[part], place_of, row, budget, uniform), store)
        steps.first(buffers, completions.sampling).draw(buffers.states(live.slot[part], store))
        draws = buffers.download()[:, : len(mine), :1]
        collect(completions, which, np.zeros(len(mine), dtype=np.int64), np.ones(len(mine), dtype=np.int64), draws)
    path = np.zeros((len(live.which), int(live.length.max()) + completions.tokens.shape[1]), dtype=np.int64)
    width = min(path.shape[1], live.read.shape[1])
    path[:, :width] = live.read[live.row, :width]
    return _Standing(live.which, path, live.length[live.row])


def _block(steps: Steps, store: PrefixStore, completions: Completions, standing: _Standing, shape: _Shape) -> int:
    """Make a block of steps for the completions, of too many rows for those that are least far; return the prefixes."""
    drawn = completions.drawn[standing.which]
    before = standing.path[np.arange(len(drawn)), standing.length - 1]
    pending = completions.tokens[standing.which, drawn - 1]
    vocabulary = store.transformer.vocab_size
    first, row = np.unique(before * vocabulary + pending, return_index=True, return_inverse=True)[1:]
    if len(first) > shape.most:
        chosen = np.sort(np.argsort(drawn[first], kind="stable")[: shape.most])
        mine = np.flatnonzero(np.isin(row, chosen))
        first, row = first[chosen], np.searchsorted(chosen, row[mine])
    else:
        mine = np.arange(len(drawn))
    which, begin = standing.which[mine], drawn[mine]
    columns = np.minimum(begin[:, None] - 1 + np.arange(BLOCK), completions.uniform.shape[1] - 1)
    left = completions.budget[which] - begin
    buffers = steps.buffers(shape.grid(len(first)))
    uniform = completions.uniform[which[:, None], columns]
    load = Load(
        standing.path[first], standing.length[first], np.arange(len(mine)), row, left + 1, uniform, pending[first]
    )
    buffers.fill(load, store)
    for _ in range(min(BLOCK - 1, int(left.max()))):
        steps.recorded(buffers, completions.sampling, BLOCK)()
    draws, counts = buffers.download()[:, : len(mine)], buffers.drawn.cpu().numpy()[: len(mine)]
    collect(completions, which, begin, counts, draws[:, :, 1:])
    tokens = np.concatenate([pending[mine, None], draws[0, :, 1:].astype(np.int64)], axis=1)
    placed = place(store, before[mine], tokens, counts + 1)
    keep(store, placed, row, buffers)
    columns = np.arange(BLOCK)
    member, column = np.nonzero(columns < counts[:, None])
    slots = placed.path[member, column]
    standing.path[mine[member], standing.length[mine][member] + column] = slots
    completions.slots[which[member], begin[member] - 1 + column] = slots
    standing.length[mine] += counts
    return placed.num_prefixes
