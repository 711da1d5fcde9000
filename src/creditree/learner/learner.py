"""The learner: one optimiser step on a batch. It is blind to the method: it multiplies and sums."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.batch import Batch
from creditree.errors import ModelError
from creditree.fields import ZERO
from creditree.learner.skeleton import skeleton_logprobs
from creditree.models.adapter import Adapter
from creditree.objective.objective import Objective
from creditree.rng import Key


@dataclass(frozen=True, slots=True)
class OptimiserSpec:
    """AdamW (arXiv 1711.05101) without weight decay, after clipping the gradient's global norm at `max_grad_norm`.

    A micro-batch holds at most `micro_batch_tokens` skeleton tokens plus the depth of one path; the result does not
    depend on it beyond rounding.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one call of `Learner.step` did. Norms are global, before clipping; l2 is of the penalty's own gradient."""

    updated: bool
    loss: float
    grad_norm: float
    l2_grad_norm: float
    forwarded: int
    in_loss: int


class Learner:
    """Trains an adapter by AdamW on the loss sum_m weight[m] * objective.terms(m) + L2 penalty."""

    def __init__(self, adapter: Adapter, objective: Objective, optimiser: OptimiserSpec) -> None:
        self.adapter = adapter
        self.objective = objective
        self.spec = optimiser
        self.matrices = adapter.matrices
        self.optimiser = torch.optim.AdamW(
            self.matrices, lr=optimiser.learning_rate, betas=optimiser.betas, eps=optimiser.eps, weight_decay=0.0
        )

    @property
    def keep_zero_advantage(self) -> bool:
        """Whether tokens of advantage 0 belong in the batch: a KL penalty acts on them."""
        return self.objective.kl > 0

    def loss(self, batch: Batch) -> Tensor:
        """Return sum_m weight[m] * objective.terms(m) of a batch, with gradient; no penalty on matrices."""
        kl = self.objective.kl > 0
        found = skeleton_logprobs(self.adapter, batch, self.objective.loss_temperature, reference=kl)
        kind = found.policy.dtype
        advantage = torch.from_numpy(batch.advantage).to(found.order.device, kind)[found.order]
        weight = torch.from_numpy(batch.weight).to(found.order.device, kind)[found.order]
        return (weight * self.objective.terms(found.policy, found.reference, advantage)).sum()

    def step(self, batch: Batch, key: Key, learning_rate: float | None = None) -> StepStats:
        """Make one optimiser step. Without signal (every advantage 0) nothing changes, not even in the optimiser.

        `key` seeds LoRA dropout, where there is any.
        """
        if not np.any(np.abs(batch.advantage) > ZERO):
            return StepStats(False, 0.0, 0.0, 0.0, 0, 0)
        micro_batches = batch.micro_batches(self.spec.micro_batch_tokens)
        loss = self.gradient(micro_batches, key)
        grad_norm = self._norm([matrix.grad for matrix in self.matrices])
        l2 = self.objective.l2
        l2_grad_norm = 0.0
        if l2.coefficient > 0:
            l2_grad_norm = 2 * l2.coefficient * self._norm(list(self.matrices))
            if not l2.decoupled:
                penalty = l2.loss(self.matrices)
                penalty.backward()
                loss += penalty.item()
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self.optimiser.zero_grad()
            raise ModelError(
                f"the loss is {loss} and its gradient norm {grad_norm}; lower train.learning_rate or use dtype float32."
            )
        torch.nn.utils.clip_grad_norm_(self.matrices, self.spec.max_grad_norm)
        rate = self.spec.learning_rate if learning_rate is None else learning_rate
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        if l2.decoupled and l2.coefficient > 0:
            l2.shrink(self.matrices, rate)
        forwarded = sum(micro.num_tokens for micro in micro_batches)
        return StepStats(True, loss, grad_norm, l2_grad_norm, forwarded, batch.num_terms)

    def gradient(self, micro_batches: list[Batch], key: Key) -> float:
        """Set every matrix's gradient to that of the summed loss of `micro_batches`; return the loss."""
        self.optimiser.zero_grad()
        total = 0.0
        self.adapter.peft.train(self.adapter.spec.dropout > 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key.at("dropout").integer(0, 2**63 - 1))
            for micro in micro_batches:
                loss = self.loss(micro)
                loss.backward()
                total += loss.item()
        self.adapter.peft.eval()
        return total

    def publish(self) -> dict[str, Tensor]:
        """Return a copy of the adapter, by PEFT's names. An engine over the same weights needs none."""
        return self.adapter.state()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return everything a resumed run needs: the adapter and the optimiser's moments."""
        held = {f"adapter/{name}": tensor.cpu().numpy() for name, tensor in self.adapter.state().items()}
        for index, matrix in enumerate(self.matrices):
            for name, value in self.optimiser.state.get(matrix, {}).items():
                held[f"adam/{index}/{name}"] = value.detach().cpu().numpy().copy()
        return held

    def load_arrays(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Restore what `arrays` returned."""
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        self.adapter.load_state({n.removeprefix("adapter/"): t for n, t in tensors.items() if n.startswith("adapter/")})
        self.optimiser.state.clear()
        for index, matrix in enumerate(self.matrices):
            prefix = f"adam/{index}/"
            moments = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            if moments:
                self.optimiser.state[matrix] = {
                    name: tensor if name == "step" else tensor.to(matrix.device) for name, tensor in moments.items()
                }

    @staticmethod
    def _norm(tensors: list[Tensor | None] | list[torch.nn.Parameter]) -> float:
        present = [tensor.detach() for tensor in tensors if tensor is not None]
        return float(torch.nn.utils.get_total_norm(present)) if present else 0.0
