"""Put what was decoded into the prefix store: one slot for each different prefix, filled from the first row with it."""

from dataclasses import dataclass

import numpy as np

from creditree.engines.store import ROOT, PrefixStore
from creditree.tree import IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """Slots [n] that hold nothing yet, and where what belongs there was computed: `member` [n], `column` [n].

    `path` [m, T]: the slot of each member's prefix that ends at a column; the root where it has none.
    """

    slot: IntArray
    member: IntArray
    column: IntArray
    path: IntArray

    @property
    def num_prefixes(self) -> int:
        """How many different prefixes the members have, those that were stored before included."""
        return len(np.unique(self.path[self.path != ROOT]))


@dataclass(frozen=True, eq=False, slots=True)
class _PrefixLevel:
    """The different prefixes of one length: index of the one before (in the level before), last token, first member.

    `going`: the members that have one of them, and `which` of them it is.
    """

    before: IntArray
    token: IntArray
    member: IntArray
    going: IntArray
    which: IntArray


def place(store: PrefixStore, before: IntArray, tokens: IntArray, drawn: IntArray) -> Placed:
    """Make slots for every prefix that had a next token drawn, and return those that are to be filled.

    `before` [m]: slots of the contexts' last tokens;  `tokens` [m, T];  `drawn` [m]: how many of them count. The last
    token of a completion was never forwarded, so it gets no slot.
    """
    parents, number = np.unique(before, return_inverse=True)
    levels = _levels(number, tokens, drawn)
    count = sum(len(level.token) for level in levels)
    store.reserve(count, count)
    slots, path = parents, np.full(tokens.shape, ROOT, dtype=np.int64)
    parts_of_levels = [(slots[:0], slots[:0], slots[:0])]
    for column, level in enumerate(levels):
        slots = _children(store, slots[level.before], level.token)
        path[level.going, column] = slots[level.which]
        new = np.flatnonzero(~store.is_decoded(slots))
        parts_of_levels.append((slots[new], level.member[new], np.full(len(new), column)))
    slot, member, number = (np.concatenate(parts) for parts in zip(*parts_of_levels, strict=True))
    return Placed(slot, member, number, path)


def _levels(number: IntArray, tokens: IntArray, drawn: IntArray) -> list[_PrefixLevel]:
    vocabulary = int(tokens.max(initial=0)) + 1
    levels = []
    going = np.arange(len(drawn))
    for column in range(int(drawn.max(initial=1)) - 1):
        going = going[drawn[going] > column + 1]
        pair, first, inverse = np.unique(
            number[going] * vocabulary + tokens[going, column], return_index=True, return_inverse=True
        )
        before, token = np.divmod(pair, vocabulary)
        levels.append(_PrefixLevel(before, token, going[first], going, inverse))
        number = number.copy()
        number[going] = inverse
    return levels


def _children(store: PrefixStore, before: IntArray, token: IntArray) -> IntArray:
    """Return `store.slot` of different (before, token) pairs, those of one slot in a row; at once where it is alone."""
    slots = np.zeros(len(before), dtype=np.int64)
    same = before[1:] == before[:-1]
    only = ~(np.concatenate([[False], same]) | np.concatenate([same, [False]])) & (store.first_child[before] == ROOT)
    fresh = np.arange(store.used, store.used + int(only.sum()))
    store.used += len(fresh)
    store.token[fresh], store.first_child[before[only]] = token[only], fresh
    for array in (store.first_child, store.next_sibling, store.decoded):
        array[fresh] = 0
    slots[only] = fresh
    for index in np.flatnonzero(~only):
        slots[index] = store.slot(int(before[index]), int(token[index]))
    return slots
