"""Benchmarks that are measured together and averaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from creditree.sources import BenchmarkName
from creditree.tasks.benchmarks import MATH_TOKENS


@dataclass(frozen=True, slots=True)
class Suite:
    """Completions of each problem by benchmark, and how they are drawn. The average is unweighted over benchmarks."""

    samples: Mapping[BenchmarkName, int]
    temperature: float
    top_p: float
    max_new_tokens: int


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "attnrl": Suite(
            MappingProxyType({"aime24": 32, "aime25": 32, "amc23": 32, "math500": 4, "minerva": 4, "olympiadbench": 4}),
            temperature=0.6,
            top_p=1.0,
            max_new_tokens=MATH_TOKENS,
        )
    }
)
"""AttnRL (arXiv 2509.26628), section 4.1: numbers of completions and the length; temperature and top-p: its code."""
