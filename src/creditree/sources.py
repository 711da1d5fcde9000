"""Where problems come from, as a configuration names it: benchmarks, and data sets on the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

BenchmarkName = Literal["gsm8k", "math500", "aime24", "aime25", "amc23", "minerva", "olympiadbench"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a benchmark lies on the hub, and who judges it where nothing else is said."""

    hub: str
    grader: str = "math"


SOURCES: Mapping[BenchmarkName, Source] = MappingProxyType(
    {
        "gsm8k": Source("openai/gsm8k", "last_integer"),
        "math500": Source("HuggingFaceH4/MATH-500"),
        "aime24": Source("HuggingFaceH4/aime_2024"),
        "aime25": Source("math-ai/aime25"),
        "amc23": Source("math-ai/amc23"),
        "minerva": Source("math-ai/minervamath"),
        "olympiadbench": Source("math-ai/olympiadbench"),
    }
)
SVAMP = "ChilleD/SVAMP"
"""SVAMP's place on the hub."""

HUB = "hub:"
"""What a path begins with that names a data set on the hub: ``hub:NAME``, or ``hub:NAME#SPLIT``."""


def is_on_hub(path: str | Path | None) -> bool:
    """Return whether a path names a data set on the hub, not a file."""
    return str(path).startswith(HUB)
