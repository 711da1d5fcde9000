"""A cell of a table of tiny twins: one setting, run with several seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One setting: its table, its name there, the configuration keys, the CPU seconds of training, and its seeds.

    `curve`: whether accuracy is measured along the way, or at the end only.
    """

    table: str
    name: str
    keys: tuple[tuple[str, object], ...]
    cpu_seconds: float
    seeds: tuple[int, ...] = SEEDS
    curve: bool = True

    @property
    def file(self) -> str:
        """Stem of the raw result files."""
        return f"{self.table}--{self.name}".replace(" ", "_").replace("=", "").replace("/", "-")


def cell(
    table: str,
    name: str,
    cpu_seconds: float,
    *blocks: Mapping[str, object],
    seeds: tuple[int, ...] = SEEDS,
    curve: bool = True,
) -> Cell:
    """Merge the blocks, later ones winning."""
    merged: dict[str, object] = {}
    for block in blocks:
        merged |= block
    return Cell(table, name, tuple(merged.items()), cpu_seconds, seeds, curve)
