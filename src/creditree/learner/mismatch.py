"""How far the engine's log-probabilities are from the learner's own, of the tokens that are learned from."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mismatch:
    """d = log p by the engine - log p by the learner, both under the policy that sampled, of `terms` loss terms.

    `absolute`: sum of |d|;  `squares`: sum of d^2;  `largest`: the largest |d|. Where engine and learner compute the
    same numbers it is rounding; a bfloat16 base rounds differently in either.
    """

    terms: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    @classmethod
    @torch.no_grad()
    def of(cls, sampler_logprobs: Tensor, old_logprobs: Tensor) -> Self:
        """Return the mismatch of some terms [M]."""
        if not len(old_logprobs):
            return cls()
        gap = (sampler_logprobs - old_logprobs).abs().double()
        absolute, squares, largest = torch.stack([gap.sum(), gap.square().sum(), gap.max()]).tolist()
        return cls(len(old_logprobs), absolute, squares, largest)

    def __add__(self, other: "Mismatch") -> "Mismatch":
        """Return the mismatch of both's terms together."""
        return Mismatch(
            self.terms + other.terms,
            self.absolute + other.absolute,
            self.squares + other.squares,
            max(self.largest, other.largest),
        )

    @property
    def mean(self) -> float | None:
        """Mean of |d| in nats; None where nothing was compared."""
        return self.absolute / self.terms if self.terms else None

    @property
    def rms(self) -> float | None:
        """Root mean square of d in nats; None where nothing was compared."""
        return math.sqrt(self.squares / self.terms) if self.terms else None

    @property
    def max(self) -> float | None:
        """Largest |d| in nats; None where nothing was compared."""
        return self.largest if self.terms else None


NOT_COMPARED = Mismatch()
