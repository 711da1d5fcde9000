"""All targets by name, and valid inputs to begin with."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz import answers, configurations, files

TARGETS: Mapping[str, Callable[[bytes], None]] = configurations.TARGETS | files.TARGETS | answers.TARGETS
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    name: tuple(seed.encode("latin-1" if name == "parquet" else "utf-8") for seed in seeds)
    for name, seeds in (configurations.SEEDS | files.SEEDS | answers.SEEDS).items()
}
FOUND = Path(__file__).parent / "found"
"""Inputs that broke a law once, below the name of their target."""
