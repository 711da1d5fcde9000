"""How completions are laid out in rows of a fixed shape: groups of rows that share a copy of their context."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from creditree.tree import IntArray

_FEWEST_ROWS, _ROW_PARTS = 8, 8
_SHORTEST, _LENGTH_PARTS = 64, 4
_SHORTEST_STAGE = 128
_MOST_WASTE = 1.25
"""Bytes a step that a grid which is there already may move, relative to the best one: a new one costs a recording."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`copies` contexts of at most `context` tokens, each with `each` rows of at most `length` new tokens.

    `standing`: completions on all rows together; None: one a row.
    """

    copies: int
    each: int
    context: int
    length: int
    standing: int | None = None

    @property
    def rows(self) -> int:
        """How many rows there are, unused ones included."""
        return self.copies * self.each

    @property
    def shared(self) -> bool:
        """Whether several completions stand on a row."""
        return self.standing is not None

    @property
    def members(self) -> int:
        """How many completions there is room for."""
        return self.rows if self.standing is None else self.standing

    def holds(self, other: "Grid") -> bool:
        """Whether what fits `other` fits this grid too, its rows a copy aside."""
        return self.copies >= other.copies and self.context >= other.context and self.length >= other.length


@dataclass(frozen=True, eq=False, slots=True)
class Arrangement:
    """Where m completions stand: `row` [m] in the grid, and `context` [copies in use], the context of each copy."""

    grid: Grid
    row: IntArray
    context: IntArray


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a step moves: `row` for one more row (mostly its logits), `token` for one more cached token.

    `weights`: whatever the grid is.
    """

    row: int
    token: int
    weights: int = 0

    def bytes_of(self, grid: Grid) -> int:
        """Return what a step of the grid moves, halfway through its length."""
        own = self.row + grid.length // 2 * self.token
        return self.weights + grid.rows * own + grid.copies * grid.context * self.token


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


def stage_bucket(column: int, length: int) -> int:
    """Return how much of a cache for `length` tokens is read by the step at `column`: it doubles from 128 on.

    Each size is a recording of its own. What is read in vain, at most half, is little beside the weights.
    """
    return min(length, max(_SHORTEST_STAGE, 1 << column.bit_length()))


def row_bucket(rows: int, each: int) -> int:
    """Return the number of rows to use for `rows`, a multiple of `each`: by 8 up to 128, then eight sizes an octave."""
    size = rounded(max(rows, 1), _FEWEST_ROWS, _ROW_PARTS)
    while size % each:
        size = rounded(size + 1, _FEWEST_ROWS, _ROW_PARTS)
    return size


def arrange(
    context: IntArray, longest_context: int, length: int, traffic: Traffic, held: Iterable[Grid] = ()
) -> Arrangement:
    """Lay out completions whose contexts are numbered by `context` [m], ascending.

    A context is copied for every `each` of its completions. Few rows a copy read the context often; many leave rows
    unused where contexts differ in how many completions they have. The choice moves the fewest bytes a step; of the
    grids that are `held`, one that moves at most a quarter more is preferred, as its steps are recorded already.
    """
    members = np.bincount(context)
    width = length_bucket(longest_context)
    most = int(members.max())
    choices = [1 << power for power in range(most.bit_length() + 1)]
    choices.append(rounded(most, _FEWEST_ROWS, _ROW_PARTS))

    def least(each: int) -> Grid:
        return Grid(int((-(-members // each)).sum()), each, width, length_bucket(length))

    def rounded_up(grid: Grid) -> Grid:
        return replace(grid, copies=row_bucket(grid.rows, grid.each) // grid.each)

    best = min((rounded_up(least(each)) for each in choices), key=traffic.bytes_of)
    bound = _MOST_WASTE * traffic.bytes_of(best)
    fitting = [
        grid for grid in held if not grid.shared and grid.holds(least(grid.each)) and traffic.bytes_of(grid) <= bound
    ]
    grid = min(fitting, key=traffic.bytes_of, default=best)
    copies = -(-members // grid.each)
    first_copy = np.concatenate([[0], np.cumsum(copies)[:-1]])
    first_member = np.concatenate([[0], np.cumsum(members)[:-1]])
    row = first_copy[context] * grid.each + np.arange(len(context)) - first_member[context]
    return Arrangement(grid, row, np.repeat(np.arange(len(members)), copies))
