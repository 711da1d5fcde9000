"""A learner whose passes over a batch are done by a crew, in shards; the optimiser steps here, once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from creditree.batch import Batch
from creditree.learner.learner import Learner
from creditree.learner.mismatch import NOT_COMPARED, Mismatch
from creditree.rng import Key
from creditree.scale.crew import Crew, Order
from creditree.scale.shards import shard, shards_of
from creditree.scale.worker import Gradients
from creditree.tree import FloatArray, IntArray


class ShardedLearner(Learner):
    """Makes the update of one process: gradient = sum over shards of the sum over their terms, in a fixed order.

    The weights of a batch contain the method's normaliser, so the gradient is a plain sum and shards of it add up to
    it, to rounding. With LoRA dropout each shard draws its own masks, so that they depend on the number of workers.
    """

    def __init__(self, learner: Learner, crew: Crew) -> None:
        """Train what `learner` would, which takes no part in it."""
        super().__init__(learner.trained, learner.objective, learner.spec, engine_differs=learner.engine_differs)
        self._crew = crew

    def accumulate(self, batch: Batch, key: Key, at_old: bool = False) -> tuple[float, int, Mismatch]:
        """Set the gradients; return the loss, how many terms were clipped, and the mismatch."""
        self.optimiser.zero_grad()
        shards = self._shards(batch)
        keys = [key] if len(shards) == 1 else [key.at("shard", number) for number in range(len(shards))]
        orders = [
            Order("gradient", (shard(batch, terms), self.objective, own, at_old))
            for terms, own in zip(shards, keys, strict=True)
        ]
        sums: list[Gradients] = self._crew.run(orders, self.trained)
        for own in sums:
            self._add(own)
        self.micro_batch_tokens = min([self.micro_batch_tokens, *(own.micro_batch_tokens for own in sums)])
        mismatch = sum((own.mismatch for own in sums), NOT_COMPARED)
        return sum(own.loss for own in sums), sum(own.clipped for own in sums), mismatch

    @torch.no_grad()
    def _add(self, sums: Gradients) -> None:
        for matrix, array in zip(self.matrices, sums.matrices, strict=True):
            if array is None:
                continue
            grad = torch.from_numpy(np.array(array)).to(matrix.device)
            matrix.grad = grad if matrix.grad is None else matrix.grad.add_(grad)

    def loss(self, batch: Batch) -> float:
        """Return the loss of a batch, without gradient."""
        shards = self._shards(batch)
        losses: list[float] = self._crew.run(self._orders("loss", batch, shards, self.objective), self.trained)
        return sum(losses)

    def states(self, batch: Batch) -> FloatArray:
        """Return the last hidden state before each term's token [M, width]."""
        return self._by_term("states", batch)

    def logprobs(self, batch: Batch, temperature: float = 1.0) -> FloatArray:
        """Return log softmax(logits / temperature) of each term's token [M]."""
        return self._by_term("logprobs", batch, temperature)

    def residuals(self, batch: Batch) -> FloatArray:
        """Return |h - h_base| [M] of those states."""
        return self._by_term("residuals", batch)

    def _by_term(self, what: str, batch: Batch, *more: Any) -> FloatArray:
        """Return the numbers of all terms, each shard's in its place."""
        shards = self._shards(batch)
        values: list[FloatArray] = self._crew.run(self._orders(what, batch, shards, *more), self.trained)
        if not values:
            return np.zeros(0)
        whole = np.empty((batch.num_terms, *values[0].shape[1:]))
        for terms, own in zip(shards, values, strict=True):
            whole[terms] = own
        return whole

    def _shards(self, batch: Batch) -> list[IntArray]:
        return shards_of(batch, self._crew.size)

    @staticmethod
    def _orders(what: str, batch: Batch, shards: Sequence[IntArray], *more: Any) -> list[Order]:
        return [Order(what, (shard(batch, terms), *more)) for terms in shards]
