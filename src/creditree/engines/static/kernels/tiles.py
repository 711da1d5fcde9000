"""How products are cut into programs: tiles of outputs, parts of the inputs."""

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["heads", "residual", "gated", "logits"]
MOST_ROWS = 128
FEWEST_BYTES = 1 << 27
"""Bytes of weights from which these kernels are tried. Ours, not measured: compiling takes seconds, which a model whose
steps take microseconds never gets back."""
_FEWEST_ROWS = 16
_PROGRAMS = 120
"""Programs of a product that keep a large GPU's processors busy: about one for each."""
MOST_SPLITS = 16
_LOOKING, MOST_LOOKS = 2 * 132, 4
"""Programs of attention that are worth having, about two for each processor; parts that keys are cut into at most."""
_KEYS = 512
"""Keys that are worth a part of their own: parts are added up through memory."""
_WIDE = 512
"""Bytes of a key and its value from which fewer of them are looked at together."""


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


def looks_of(units: int, keys: int, pair: int) -> Looks:
    """Return how `units` rows and key heads attend to at most `keys` keys, of `pair` bytes with their values.

    In several parts where there are few units and many keys.
    """
    few = power_of_two(-(-_LOOKING // units)) // 2
    splits = 1 << max(0, min(MOST_LOOKS, few, keys // _KEYS).bit_length() - 1)
    return Looks(splits, 64, stages=3) if pair <= _WIDE else Looks(splits, 32, stages=2)


def looks_to_compare(units: int, pair: int) -> list[Looks]:
    """Return ways to attend to a few hundred keys, of which a device may like one or another."""
    candidates = [looks_of(units, 0, pair)]
    if pair <= _WIDE:
        candidates += [Looks(1, 128, 4, 2), Looks(1, 128, 8, 2), Looks(2, 64, 4, 2)]
        candidates += [Looks(4, 64, 4, 2)] if units * MOST_LOOKS <= _LOOKING else []
    return candidates


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
        even = [parts for parts in range(1, min(steps, MOST_SPLITS) + 1) if steps % parts == 0]
        splits = next((parts for parts in even if parts * count >= _PROGRAMS), even[-1])
    return Tiles(block_n, block_k, splits, warps=4, stages=4)


_COMPARED: dict[str, tuple[tuple[Tiles, ...], tuple[Tiles, ...]]] = {
    "heads": (
        (Tiles(16, 256), Tiles(16, 128, stages=6)),
        (Tiles(64, 64, 4, stages=5), Tiles(64, 128, 4, stages=3)),
    ),
    "output": ((Tiles(16, 128, stages=6),), (Tiles(64, 128, 6, stages=3), Tiles(32, 128, 3))),
    "gate_up": (
        (Tiles(64, 128, stages=3), Tiles(64, 64, stages=5)),
        (Tiles(64, 64, stages=5), Tiles(64, 128, stages=3), Tiles(64, 64, warps=8)),
    ),
    "down": (
        (Tiles(32, 128, 5, stages=5),),
        (Tiles(64, 128, 5, stages=3), Tiles(64, 64, 10, stages=5), Tiles(128, 64, 10, warps=8)),
    ),
    "logits": ((Tiles(128, 128, stages=3),), (Tiles(128, 64, warps=8),)),
}
"""Tiles of products that were among the fastest on one GPU or another, for at most 32 rows and for more."""


def tiles_to_compare(name: str, rows: int, first: Tiles, inputs: int, unit: int = 1) -> list[Tiles]:
    """Return `first` and other tiles of a product, cut into parts as the inputs allow. `unit`: as in `tiles_of`."""
    candidates = [first]
    for tiles in _COMPARED[name][row_block(rows) > 32]:
        if (unit > 1 and unit % tiles.block_n) or inputs % tiles.block_k:
            continue
        steps = inputs // tiles.block_k
        even = [parts for parts in range(1, steps + 1) if steps % parts == 0]
        candidates.append(replace(tiles, splits=min(even, key=lambda parts: abs(parts - tiles.splits))))
    return list(dict.fromkeys(candidates))
