"""The learner: one optimiser step on a batch. It is blind to the method: it multiplies and sums."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.batch import Batch
from creditree.learner.correction import corrected
from creditree.learner.memory import Result, fitting
from creditree.learner.mismatch import Mismatch
from creditree.learner.optimiser import OptimiserSpec as OptimiserSpec
from creditree.learner.passes import Passes
from creditree.learner.rows import RowPasses
from creditree.learner.sequences import by_sequence
from creditree.learner.skeleton import Skeleton
from creditree.learner.stats import StepStats
from creditree.learner.update import LARGEST_WEIGHT, are_finite, objection, stays_sound
from creditree.models.trained import Trained
from creditree.models.trunk import TrunkStore
from creditree.objective.base import Objective
from creditree.rng import Key
from creditree.tree import FloatArray


class Learner:
    """Trains an adapter, or all weights, by AdamW on the loss sum_m weight[m] * objective.terms(m) + L2 penalty.

    `trunk_store`, where there is one, is asked for the inputs of the first adapted layer before they are computed: no
    update changes the layers below it, so they serve all updates of a training step. `engine_differs`: another program
    samples, which computes the same model in its own way. `num_updates` counts the optimiser steps that this object
    began.
    """

    def __init__(
        self,
        trained: Trained,
        objective: Objective,
        optimiser: OptimiserSpec,
        trunk_store: TrunkStore | None = None,
        *,
        engine_differs: bool = False,
    ) -> None:
        self.trained = trained
        self.objective = objective
        self.spec = optimiser
        self.trunk_store = trunk_store
        self.engine_differs = engine_differs
        self.micro_batch_tokens = optimiser.micro_batch_tokens
        self.matrices = trained.matrices
        self.optimiser = torch.optim.AdamW(
            self.matrices,
            lr=optimiser.learning_rate,
            betas=optimiser.betas,
            eps=optimiser.eps,
            weight_decay=optimiser.weight_decay,
            fused=True,
        )
        self.num_updates = 0
        self._num_not_finite = 0

    @contextmanager
    def maximising(self, objective: Objective) -> Iterator[None]:
        """Make the optimiser steps of the block by another objective; optimiser and weights are the same."""
        own, self.objective = self.objective, objective
        try:
            yield
        finally:
            self.objective = own

    @property
    def keep_zero_advantage(self) -> bool:
        """Whether tokens of advantage 0 belong in the batch: a KL penalty or an entropy bonus acts on them."""
        return self.objective.kl > 0 or self.objective.entropy_bonus > 0

    @property
    def recomputes_old(self) -> bool:
        """Whether old log-probabilities are those of the learner's own pass, not the engine's.

        On a base below float32 (bfloat16, int8, nf4) engine and learner round differently, and the ratio of new and old
        would clip tokens before anything was learned. In float32 and float64 they agree to rounding, unless another
        program samples (`engine_differs`), or what it says is to be corrected (`Objective.corrects`).
        """
        is_coarse = self.trained.model.network.dtype not in (torch.float32, torch.float64)
        return is_coarse or self.engine_differs or self.objective.corrects

    @property
    def needs_own_old(self) -> bool:
        """Whether the loss looks at old log-probabilities, and those of the learner's own pass are wanted."""
        return self.recomputes_old and self.objective.uses_old

    @property
    def corrects_staleness(self) -> bool:
        """Whether importance weights make up for updates since sampling too: no ratio of the loss does."""
        return self.objective.corrects and not self.objective.uses_old

    def with_old_logprobs(self, batch: Batch) -> Batch:
        """Return the batch with this learner's log-probabilities as the old ones of its fresh terms, if it needs them.

        Of all its terms where `corrects_staleness`: the policy before the update is then the one to compare with the
        engine's. To be called before the first update since the fresh ones were sampled. One pass without gradient,
        LoRA dropout off.
        """
        own_terms = np.ones_like(batch.fresh) if self.corrects_staleness else batch.fresh
        if not ((self.needs_own_old or self.objective.corrects) and own_terms.any()):
            return batch
        own = self.logprobs(batch, self.objective.loss_temperature)
        return replace(batch, old_logprob=np.where(own_terms, own, batch.old_logprob))

    def loss(self, batch: Batch) -> float:
        """Return sum_m weight[m] * objective.terms(m) of a batch, without gradient; no penalty on matrices."""
        return self._fitting(batch, lambda size: self._over(batch).loss(size))

    def states(self, batch: Batch) -> FloatArray:
        """Return the last hidden state before each term's token, after the final norm [M, width], without gradient."""
        states, _ = self._fitting(batch, lambda size: self._over(batch).states(size))
        return np.asarray(states.double().cpu().numpy())

    def logprobs(self, batch: Batch, temperature: float = 1.0) -> FloatArray:
        """Return log softmax(logits / temperature) of each term's token [M], at least in float32, without gradient."""
        logprobs = self._fitting(batch, lambda size: self._over(batch).logprobs(size, temperature))
        return np.asarray(logprobs.double().cpu().numpy())

    def residuals(self, batch: Batch) -> FloatArray:
        """Return |h - h_base| [M] of those states, with what is trained and without it."""
        states, base = self._fitting(batch, lambda size: self._over(batch).states(size, base=True))
        assert base is not None
        return np.asarray(torch.linalg.vector_norm(states.double() - base.double(), dim=-1).cpu().numpy())

    def step(self, batch: Batch, key: Key, learning_rate: float | None = None, *, at_old: bool = False) -> StepStats:
        """Make one optimiser step. Without signal (every advantage 0) nothing changes, not even in the optimiser.

        Nor does anything change where loss, gradient or the new weights would not be finite, the gradient's norm is
        above `skip_grad_norm`, the mismatch above `max_mismatch` or a new weight above `LARGEST_WEIGHT`:
        `StepStats.skipped` says which. Where memory runs out, it is made with smaller micro-batches.

        `key` seeds LoRA dropout, where there is any. `at_old`: no update was made since the fresh terms were sampled:
        the policy is still the old one. Then it is compared with the engine, and where old log-probabilities are the
        learner's own (`recomputes_old`) this very pass gives them: the ratio of fresh terms is exactly 1.
        """
        if not batch.has_signal:
            return StepStats(False, 0.0, 0.0, 0.0, 0, 0, self.micro_batch_tokens)
        before = self.micro_batch_tokens
        measured = batch.num_tokens * (self.objective.by_sequence + (self.objective.corrects and at_old))
        if self.objective.corrects:
            batch = corrected(self.with_old_logprobs(batch) if at_old else batch, self.objective)
            if not batch.has_signal:  # all of it is masked
                return StepStats(False, 0.0, 0.0, 0.0, 0, 0, before, measured=measured)
        if self.objective.by_sequence:
            batch = self._by_sequence(batch, at_old)
        loss, clipped, mismatch = self.accumulate(batch, key, at_old)
        grads = [matrix.grad for matrix in self.matrices if matrix.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        grad_norm = float(norm)
        penalty, l2_grad_norm, norm = self._penalised(norm)
        loss += penalty
        is_sound = are_finite(loss, grad_norm, float(norm))
        rate = self.spec.learning_rate if learning_rate is None else learning_rate
        skipped = objection(loss, grad_norm, float(norm), mismatch, self.spec)
        if skipped is not None and self._num_not_finite and not math.isfinite(loss):
            skipped += (
                f", as method.objective '{self.objective.name}' makes it NaN or infinite for {self._num_not_finite} of "
                f"{batch.num_terms} terms whose log-probabilities are finite"
            )
        if skipped is None and not self._update(norm, rate):
            skipped = f"the update would make weights that are not finite, or above {LARGEST_WEIGHT:g}"
        if skipped is not None:
            self.optimiser.zero_grad()
        size_now = self.micro_batch_tokens
        note = None if size_now == before else f"out of memory: micro-batches now hold {size_now} tokens, not {before}"
        counts = batch.num_tokens, batch.num_terms, size_now
        return StepStats(
            skipped is None,
            loss,
            grad_norm,
            l2_grad_norm,
            *counts,
            note,
            clipped,
            mismatch,
            skipped,
            is_sound,
            measured,
        )

    def _penalised(self, norm: Tensor) -> tuple[float, float, Tensor]:
        """Return the L2 penalty of the loss, its gradient's norm, and the norm of the gradient with it."""
        l2 = self.objective.penalty
        if l2.coefficient == 0:
            return 0.0, 0.0, norm
        size = float(torch.nn.utils.get_total_norm([matrix.detach() for matrix in self.matrices]))
        l2_grad_norm = 2 * l2.coefficient * size
        if l2.decoupled:
            return 0.0, l2_grad_norm, norm
        return l2.coefficient * size**2, l2_grad_norm, self._add_penalty(2 * l2.coefficient)

    def _by_sequence(self, batch: Batch, at_old: bool) -> Batch:
        """Return the batch with old log-probabilities that make each term's ratio that of its whole sequence.

        One pass more, without gradient. Where nothing was updated since, and old ones are the learner's own, the ratio
        is exactly 1.
        """
        own = self.logprobs(batch, self.objective.loss_temperature)
        old = batch.old_logprob
        if at_old and self.recomputes_old:
            old = np.where(batch.fresh, own, old)
        return replace(batch, old_logprob=by_sequence(own, old, batch.sequence))

    def _update(self, norm: Tensor, rate: float) -> bool:
        """Clip the gradient and update the weights; return False, and change none, where they would not be sound."""
        torch.nn.utils.clip_grads_with_norm_(self.matrices, self.spec.max_grad_norm, norm)
        l2 = self.objective.penalty
        shrinks = l2.decoupled and l2.coefficient > 0
        if not stays_sound(self.optimiser, rate, l2.factor(rate) if shrinks else 1.0):
            return False
        self.optimiser.param_groups[0]["lr"] = rate
        self.num_updates += 1  # before it is made: one that is interrupted has changed some weights
        self.optimiser.step()
        if shrinks:
            l2.shrink(self.matrices, rate)
        return True

    def gradient(self, batch: Batch, key: Key) -> float:
        """Set every matrix's gradient to that of the loss; return the loss.

        Where memory runs out in this or another pass, it starts again with smaller micro-batches, and later passes keep
        to them. Raises ModelError where there are no smaller ones.
        """
        return self.accumulate(batch, key)[0]

    def accumulate(self, batch: Batch, key: Key, at_old: bool = False) -> tuple[float, int, Mismatch]:
        """Set the gradients; return the loss, how many terms were clipped, and the mismatch."""
        return self._fitting(batch, lambda size: self._gradient(batch, key, at_old, size))

    def _gradient(self, batch: Batch, key: Key, at_old: bool, max_tokens: int) -> tuple[float, int, Mismatch]:
        self.optimiser.zero_grad()
        passes = self._over(batch)
        passes.at_old = at_old
        passes.replaces_old = at_old and self.recomputes_old and not self.objective.by_sequence
        with self.trained.learning(key):
            loss = passes.gradient(max_tokens)
        self._num_not_finite = 0 if math.isfinite(loss) else passes.num_not_finite  # else a GPU would be waited for
        return loss, passes.num_clipped, passes.mismatch

    def _fitting(self, batch: Batch, made: Callable[[int], Result]) -> Result:
        """Return what `made` makes of micro-batches that fit the memory, and keep to their size."""
        result, self.micro_batch_tokens = fitting(batch, self.micro_batch_tokens, made)
        return result

    @torch.no_grad()
    def _add_penalty(self, factor: float) -> Tensor:
        """Add factor * W to every gradient; return the global norm."""
        grads = []
        for matrix in self.matrices:
            matrix.grad = torch.zeros_like(matrix) if matrix.grad is None else matrix.grad
            grads.append(matrix.grad.add_(matrix, alpha=factor))
        return torch.nn.utils.get_total_norm(grads)

    def _over(self, batch: Batch) -> Passes:
        """Return the passes over a batch, in the way in which the model is run."""
        if self.trained.model.whole is not None:
            return RowPasses(self.trained, self.objective, batch, self.trained.model.whole)
        store = self.trunk_store if self.trained.first_layer > 0 else None
        trunk = None if store is None else store.trunk(batch.handles)
        return Skeleton(self.trained, self.objective, batch, trunk)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return everything a resumed run needs: what is trained, and the optimiser's moments."""
        arrays = {
            f"{self.trained.folder}/{name}": tensor.cpu().numpy() for name, tensor in self.trained.state().items()
        }
        for index, matrix in enumerate(self.matrices):
            for name, value in self.optimiser.state.get(matrix, {}).items():
                arrays[f"adam/{index}/{name}"] = value.detach().cpu().numpy().copy()
        return arrays

    def load_arrays(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Restore what `arrays` returned."""
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        own = f"{self.trained.folder}/"
        self.trained.load_state({n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)})
        self.optimiser.state.clear()
        for index, matrix in enumerate(self.matrices):
            prefix = f"adam/{index}/"
            moments = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            if moments:
                self.optimiser.state[matrix] = {name: tensor.to(matrix.device) for name, tensor in moments.items()}
