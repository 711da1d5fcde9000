"""What all passes over a batch have in common: the loss of its terms, and what is noted on the way."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.batch import Batch
from creditree.learner.head import TermLoss
from creditree.learner.mismatch import Mismatch, gaps_of
from creditree.models.arrays import on_device
from creditree.models.trained import Trained
from creditree.objective.base import Objective, of_terms
from creditree.returned import Returned
from creditree.tree import IntArray


class Passes(ABC):
    """A batch and the passes over it, in parts of at most `max_tokens` tokens, on which no result depends.

    `at_old`: the policy is the one that sampled the fresh terms, so `mismatch` is measured on them; `replaces_old`: and
    what the passes compute takes the place of their old log-probabilities.
    """

    def __init__(self, trained: Trained, objective: Objective, batch: Batch) -> None:
        self.trained, self.objective, self.batch = trained, objective, batch
        self._network = trained.model.network
        self.at_old, self.replaces_old = False, False
        # sums stay on the device until they are asked for: to look at each would make a GPU wait for the host
        self._clipped: list[Tensor] = []
        self._not_finite: list[Tensor] = []
        self._gaps: list[Tensor] = []
        self._num_compared = 0

    @property
    def num_clipped(self) -> int:
        """Terms that a clip kept from learning so far."""
        return int(torch.stack(self._clipped).sum()) if self._clipped else 0

    @property
    def num_not_finite(self) -> int:
        """Terms whose loss so far was NaN or infinite though their log-probability was finite."""
        return int(torch.stack(self._not_finite).sum()) if self._not_finite else 0

    @property
    def mismatch(self) -> Mismatch:
        """How far the engine's log-probabilities were from those of the passes so far, of fresh terms."""
        return Mismatch.of(self._gaps, self._num_compared)

    @abstractmethod
    def gradient(self, max_tokens: int) -> float:
        """Add the gradient of the loss to the trained matrices; return the loss."""

    @abstractmethod
    def loss(self, max_tokens: int) -> float:
        """Return the loss, without gradient."""

    @abstractmethod
    def states(self, max_tokens: int, *, base: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the states after the final norm that predict each term [M, width]: the policy's, and the base's."""

    @abstractmethod
    def logprobs(self, max_tokens: int, temperature: float = 1.0) -> Tensor:
        """Return log softmax(logits / temperature)[token] of each term [M], at least in float32."""

    def _loss_of(self, terms: IntArray, reference: Tensor | None) -> TermLoss:
        kind = torch.promote_types(self._network.dtype, torch.float32)
        batch = self.batch
        arrays = (batch.weight, batch.advantage, batch.old_logprob, batch.sampler_logprob)
        weight, advantage, old, said = (self._tensor(array[terms]).to(kind) for array in arrays)
        fresh = self._tensor(batch.fresh[terms])
        self._num_compared += int(batch.fresh[terms].sum()) if self.at_old else 0

        def loss_of(logprobs: Tensor, chosen: slice) -> Tensor:
            base = None if reference is None else reference[chosen]
            before = old[chosen]
            if self.at_old:
                compared, now = fresh[chosen], logprobs.detach()
                self._gaps.append(gaps_of(said[chosen], now, compared))
                before = torch.where(compared, now, before) if self.replaces_old else before
            clipped = self.objective.clipped(logprobs, advantage[chosen], before)
            if clipped is not None:
                self._clipped.append(of_terms(self.objective, "clipped", clipped, logprobs).sum())
            given = self.objective.terms(logprobs, base, advantage[chosen], before)
            losses = of_terms(self.objective, "terms", given, logprobs)
            if logprobs.requires_grad and not losses.requires_grad:
                raise Returned(self.objective, "loss", losses).refused(
                    "numbers without a gradient", "what torch computes of the log-probabilities that it is given"
                )
            self._not_finite.append((~losses.detach().isfinite() & logprobs.detach().isfinite()).sum())
            return (weight[chosen] * losses).sum()

        return loss_of

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return on_device(array, self._network.device)
