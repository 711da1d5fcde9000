"""How far the engine's log-probabilities are from the learner's own, of the tokens that are learned from."""

import math
from collections.abc import Sequence
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
    def of(cls, gaps: Sequence[Tensor], terms: int) -> Self:
        """Return the mismatch of `terms` terms from the sums of their parts (`gaps_of`)."""
        if not gaps:
            return cls()
        absolute, squares, largest = torch.stack(list(gaps)).T
        return cls(terms, float(absolute.sum()), float(squares.sum()), float(largest.max()))

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


@torch.no_grad()
def gaps_of(sampler_logprobs: Tensor, old_logprobs: Tensor, compared: Tensor) -> Tensor:
    """Return sum of |d|, sum of d^2 and the largest |d| [3], in float64, over those of some terms that are `compared`.

    Nothing of it waits for a device: which terms are compared is a mask, not an index.
    """
    gap = torch.where(compared, sampler_logprobs - old_logprobs, 0.0).abs().double()
    largest = gap.max() if len(gap) else gap.sum()
    return torch.stack([gap.sum(), gap.square().sum(), largest])
