"""What was decoded in a grid, put where it is needed: results to the completions, keys and values into the store."""

import numpy as np
import torch

from creditree.engines.completions import Completions
from creditree.engines.draw import NO_DISTRIBUTION
from creditree.engines.static.buffers import Buffers
from creditree.engines.static.merge import Placed
from creditree.engines.store import PrefixStore
from creditree.errors import NonFiniteError
from creditree.tree import FloatArray, IntArray

_AT_ONCE = 1 << 14
"""Slots copied into the store together."""


def collect(completions: Completions, which: IntArray, begin: IntArray, counts: IntArray, found: FloatArray) -> None:
    """Take `counts` [m] draws of completions `which` [m], of `found` [KINDS, m, T], behind the `begin` [m] they have.

    Raises NonFiniteError where a log-probability among them is not a number.
    """
    member, column = np.nonzero(np.arange(found.shape[2]) < counts[:, None])
    at = which[member], begin[member] + column
    tokens, *numbers = found[:, member, column]
    if any(np.isnan(number).any() for number in numbers[:2]):
        raise NonFiniteError(NO_DISTRIBUTION)
    completions.tokens[at] = tokens
    targets = (completions.logprobs, completions.sampler_logprobs, completions.entropies)
    for target, number in zip(targets, numbers, strict=True):
        if target is not None:
            target[at] = number
    completions.drawn[which] = begin + counts


def keep(store: PrefixStore, placed: Placed, row: IntArray, buffers: Buffers) -> None:
    """Copy what belongs in the placed slots from the rows [m] of the members that computed it."""
    large, each, device = buffers.large, buffers.grid.each, buffers.token.device
    for start in range(0, len(placed.slot), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        arrays = placed.slot[part], row[placed.member[part]], placed.column[part]
        slot, rows, column = (torch.from_numpy(array).to(device) for array in arrays)
        copy, within = rows // each, rows % each
        for layer, kv in enumerate(store.kv):
            pair = [large[name][layer][copy, :, within, column] for name in ("keys", "values")]
            kv.index_copy_(0, slot, torch.stack(pair, dim=1).view(len(slot), -1))
        if "trunk" in large:
            store.keep_trunk(slot, large["trunk"][rows, column])
        store.keep_hidden(placed.slot[part], large["hidden"][rows, column])
