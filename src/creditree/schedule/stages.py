"""Stages: how long a completion may be, by training step (DeepScaleR: 8K, then 16K, then 24K tokens)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from creditree.errors import ConfigError
from creditree.steps import Separators

Stage = tuple[int, int]
"""Training step (from 0) from which on a completion may have so many tokens."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What every schedule can do: lengths in stages. Before the first stage the configured length holds."""

    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if any(step < 0 or tokens < 1 for step, tokens in self.stages):
            raise ConfigError(
                f"method.stages is {list(map(list, self.stages))}: each stage is [step, tokens], the step 0 or more "
                "and the tokens 1 or more."
            )
        if any(later[0] <= earlier[0] for earlier, later in pairwise(self.stages)):
            raise ConfigError(
                f"method.stages is {list(map(list, self.stages))}: each stage must start at a later step than the one "
                "before it."
            )

    def max_new_tokens(self, step: int, configured: int) -> int:
        """Return how long a completion may be at training step `step` (from 0)."""
        return next((tokens for start, tokens in reversed(self.stages) if step >= start), configured)

    def fitted(self, separators: Separators) -> Self:
        """Return this schedule with the separators of the tokenizer at hand, where it looks at steps."""
        return self
