"""Decoding with a row for each completion: no look at what was drawn before the end."""

import numpy as np

from creditree.engines.completions import Completions, Live
from creditree.engines.static.buffers import Load
from creditree.engines.static.grid import Traffic, arrange, stage_bucket
from creditree.engines.static.keep import collect, keep
from creditree.engines.static.merge import place
from creditree.engines.static.steps import Steps
from creditree.engines.static.watch import CHECK_EVERY, Watch
from creditree.engines.store import PrefixStore
from creditree.tree import IntArray

LOGIT_BYTES = 40
"""Traffic of drawing, for each logit: about ten passes over float32 numbers."""


def decode_apart(steps: Steps, store: PrefixStore, completions: Completions, live: Live, ends: IntArray) -> int:
    """Draw every completion to its end; return how many different prefixes were forwarded.

    `ends`: the tokens that end a completion.
    """
    transformer = store.transformer
    token_bytes = transformer.num_layers * transformer.kv_width * transformer.dtype.itemsize
    longest = completions.tokens.shape[1]
    traffic = Traffic(LOGIT_BYTES * transformer.vocab_size, token_bytes, steps.weight_bytes)
    arranged = arrange(live.row, int(live.length.max()), longest, traffic, steps.grids)
    buffers, which = steps.buffers(arranged.grid), live.which
    budget, uniform = completions.budget[which], completions.uniform[which]
    read, length = live.read[arranged.context], live.length[arranged.context]
    buffers.fill(Load(read, length, arranged.row, arranged.row, budget, uniform), store)
    steps.first(buffers, completions.sampling).draw(buffers.states(live.slot[arranged.context], store))
    watch, tokens = Watch(buffers.left), len(which)
    for column in range(longest - 1):
        steps.recorded(buffers, completions.sampling, stage_bucket(column, buffers.grid.length))()
        if (column + 1) % CHECK_EVERY:
            continue
        if watch.all_finished():
            break
        if watch.unfinished is not None:  # at least so many tokens, of the check before
            tokens += CHECK_EVERY * watch.unfinished
            completions.beat(len(which) - watch.unfinished, tokens, column + 1)
    draws = buffers.download()[:, arranged.row, :longest]
    ended = np.isin(draws[0], ends) & (np.arange(longest) < budget[:, None])
    stopped = ended.any(axis=1)
    drawn = np.where(stopped, ended.argmax(axis=1) + 1, budget)
    completions.stopped[which] = stopped
    collect(completions, which, np.zeros(len(which), dtype=np.int64), drawn, draws)
    placed = place(store, live.slot[live.row], completions.tokens[which], drawn)
    keep(store, placed, arranged.row, buffers)
    completions.slots[which] = placed.path
    return placed.num_prefixes
