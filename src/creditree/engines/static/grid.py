"""How completions are laid out in rows of a fixed shape: groups of rows that share a copy of their context."""

from dataclasses import dataclass

import numpy as np

from creditree.tree import IntArray

_FEWEST_ROWS, _ROW_PARTS = 8, 8
_SHORTEST, _LENGTH_PARTS = 64, 4


@dataclass(frozen=True, slots=True)
class Grid:
    """`copies` contexts of at most `context` tokens, each with `each` rows of at most `length` new tokens."""

    copies: int
    each: int
    context: int
    length: int

    @property
    def rows(self) -> int:
        """How many rows there are, unused ones included."""
        return self.copies * self.each


@dataclass(frozen=True, eq=False, slots=True)
class Arrangement:
    """Where m completions stand: `row` [m] in the grid, and `context` [copies in use], the context of each copy."""

    grid: Grid
    row: IntArray
    context: IntArray


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a step moves: `row` for one more row (mostly its logits), `token` for one more cached token."""

    row: int
    token: int


def rounded(count: int, smallest: int, parts: int) -> int:
    """Return `count` rounded up to a multiple of `smallest`, and of 1/parts of the power of two below it.

    So there are few different sizes, and past parts * smallest at most 1/parts of one is unused.
    """
    power = 1 << max(count - 1, 0).bit_length() - 1 if count > 1 else 1
    unit = max(smallest, power // parts)
    return -(-count // unit) * unit


def length_bucket(length: int) -> int:
    """Return the size of a cache for `length` tokens: multiples of 64 up to 512, then four sizes an octave."""
    return rounded(max(length, 1), _SHORTEST, _LENGTH_PARTS)


def row_bucket(rows: int, each: int) -> int:
    """Return the number of rows to use for `rows`, a multiple of `each`: by 8 up to 128, then eight sizes an octave."""
    size = rounded(max(rows, 1), _FEWEST_ROWS, _ROW_PARTS)
    while size % each:
        size = rounded(size + 1, _FEWEST_ROWS, _ROW_PARTS)
    return size


def arrange(context: IntArray, longest_context: int, length: int, traffic: Traffic) -> Arrangement:
    """Lay out completions whose contexts are numbered by `context` [m], ascending.

    A context is copied for every `each` of its completions. Few rows a copy read the context often; many leave rows
    unused where contexts differ in how many completions they have. The choice moves the fewest bytes a step.
    """
    members = np.bincount(context)
    width = length_bucket(longest_context)
    most = int(members.max())
    choices = [1 << power for power in range(most.bit_length() + 1)]
    choices.append(rounded(most, _FEWEST_ROWS, _ROW_PARTS))

    def grid_of(each: int) -> Grid:
        rows = row_bucket(each * int((-(-members // each)).sum()), each)
        return Grid(rows // each, each, width, length_bucket(length))

    def bytes_of(grid: Grid) -> int:
        own = traffic.row + grid.length // 2 * traffic.token
        return grid.rows * own + grid.copies * grid.context * traffic.token

    grid = min((grid_of(each) for each in choices), key=bytes_of)
    copies = -(-members // grid.each)
    first_copy = np.concatenate([[0], np.cumsum(copies)[:-1]])
    first_member = np.concatenate([[0], np.cumsum(members)[:-1]])
    row = first_copy[context] * grid.each + np.arange(len(context)) - first_member[context]
    return Arrangement(grid, row, np.repeat(np.arange(len(members)), copies))
