"""How products are cut into programs: tiles of outputs, parts of the inputs."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["heads", "residual", "gated", "logits"]
MOST_ROWS = 128
_FEWEST_ROWS = 16
_PROGRAMS = 120
"""Programs of a product that keep a large GPU's processors busy: about one for each."""
_MOST_SPLITS = 16
_LOOKING, _MOST_LOOKS = 2 * 132, 4
"""Programs of attention that are worth having, about two for each processor; parts that keys are cut into at most."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Outputs and inputs of one step of a program, parts that the inputs are cut into, warps, steps in flight."""

    block_n: int
    block_k: int
    splits: int = 1
    warps: int = 4
    stages: int = 4

    def count(self, outputs: int) -> int:
        """Return how many tiles `outputs` columns make."""
        return -(-outputs // self.block_n)

    def partial(self, outputs: int, rows: int) -> int:
        """Return how many partial sums it takes to compute `outputs` columns of so many padded rows."""
        return 0 if self.splits == 1 else self.count(outputs) * self.splits * rows * self.block_n


@dataclass(frozen=True, slots=True)
class Looks:
    """Parts that the keys of a row and head are cut into, keys looked at together, warps, steps in flight."""

    splits: int = 1
    block_t: int = 64
    warps: int = 4
    stages: int = 2


def looks_of(units: int) -> Looks:
    """Return how `units` rows and key heads attend: in more parts where there are few of them."""
    return Looks(max(1, min(_MOST_LOOKS, power_of_two(-(-_LOOKING // units)) // 2)))


def row_block(rows: int) -> int:
    """Return the padded number of rows: what tensor cores take at once, and powers of two of it."""
    return max(_FEWEST_ROWS, power_of_two(rows))


def power_of_two(size: int) -> int:
    """Return the smallest power of two that is no less."""
    return 1 << max(size - 1, 0).bit_length()


def tiles_of(kind: Kind, rows: int, inputs: int, outputs: int, unit: int = 1) -> Tiles:
    """Return the tiles of a product. `unit`: what must not be cut within a tile (a head, for adapters), 1 for nothing.

    Few rows leave room for narrow tiles, of which there are many; with many rows, which each tile reads anew, tiles are
    wide, and the inputs are cut into parts where there are too few of them.
    """
    padded = row_block(rows)
    most = 128 if padded <= 32 else 64
    block_k = max(16, min(most, inputs & -inputs))
    block_n = {"logits": 128, "heads": 32, "gated": 32, "residual": 32 if padded <= 32 else 64}[kind]
    block_n = max(16, min(block_n, power_of_two(outputs), unit & -unit if unit > 1 else block_n))
    steps = -(-inputs // block_k)
    count = -(-outputs // block_n)
    splits = 1
    if kind in ("heads", "residual"):
        even = [parts for parts in range(1, min(steps, _MOST_SPLITS) + 1) if steps % parts == 0]
        splits = next((parts for parts in even if parts * count >= _PROGRAMS), even[-1])
    return Tiles(block_n, block_k, splits, warps=4, stages=4)
