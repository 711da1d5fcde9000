"""Where problems come from, as a configuration names it: benchmarks, and data sets on the hub."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

BenchmarkName = Literal["gsm8k", "math500", "aime24", "aime25", "amc23", "minerva", "olympiadbench"]

GRADERS: Mapping[BenchmarkName, str] = MappingProxyType(
    {
        "gsm8k": "last_integer",
        "math500": "math",
        "aime24": "math",
        "aime25": "math",
        "amc23": "math",
        "minerva": "math",
        "olympiadbench": "math",
    }
)
"""Who judges a benchmark where nothing else is said."""

HUB = "hub:"
"""What a path begins with that names a data set on the hub: ``hub:NAME``, or ``hub:NAME#SPLIT``."""


def is_on_hub(path: str | Path | None) -> bool:
    """Return whether a path names a data set on the hub, not a file."""
    return str(path).startswith(HUB)
