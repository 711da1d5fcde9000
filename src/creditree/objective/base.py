"""What an objective is: the loss of single tokens, and a penalty on the trained matrices."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from creditree.errors import ConfigError


@dataclass(frozen=True, slots=True)
class L2Penalty:
    """lambda * sum ||W||_F^2 over the LoRA matrices A and B (arXiv 2504.20834, section 3.2).

    In the loss (``decoupled=False``, as printed) Adam divides its gradient by its own size. Decoupled, the optimiser
    step is followed by W <- W (1 - 2 lr lambda), so that lambda keeps its meaning.
    """

    coefficient: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        if self.coefficient < 0:
            raise ConfigError(f"method.l2 is {self.coefficient}: a penalty must not be negative; set 0 or more.")

    def loss(self, matrices: Iterable[Tensor]) -> Tensor:
        """Return lambda * sum of squares."""
        return self.coefficient * torch.stack([matrix.square().sum() for matrix in matrices]).sum()

    def factor(self, learning_rate: float) -> float:
        """Return by what the decoupled step multiplies."""
        return 1.0 - 2.0 * learning_rate * self.coefficient

    @torch.no_grad()
    def shrink(self, matrices: Iterable[Tensor], learning_rate: float) -> None:
        """Apply the decoupled step in place."""
        for matrix in matrices:
            matrix.mul_(self.factor(learning_rate))


class Objective(Protocol):
    """What is maximised. `terms` gives the loss (to minimise) of each term before its weight."""

    name: ClassVar[str]
    uses_old: ClassVar[bool]
    """Whether `terms` looks at old log-probabilities."""

    @property
    def kl(self) -> float:
        """Coefficient of the KL penalty; above 0 the learner computes reference log-probabilities."""
        ...

    @property
    def l2(self) -> L2Penalty:
        """Penalty on the LoRA matrices, once an update."""
        ...

    @property
    def loss_temperature(self) -> float:
        """Log-probabilities in the loss are those of logits / loss_temperature."""
        ...

    def terms(self, logprobs: Tensor, reference: Tensor | None, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M].

        `logprobs`, `reference` and `old_logprobs` [M]: under the policy, with gradient; under the base model, None
        without a KL penalty; under the policy before the update. All are of logits / loss_temperature. `advantage` [M].
        """
        ...

    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor | None:
        """Return which terms [M] do not learn because their ratio is out of bounds; None where there are no bounds."""
        ...


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return exp(d) - d - 1, d = reference - logprobs [M]: the k3 estimate of KL(policy || reference), never < 0."""
    return k3(reference - logprobs)


def k3(difference: Tensor) -> Tensor:
    """Return exp(d) - d - 1 [M]."""
    return torch.exp(difference) - difference - 1.0


def penalised(
    terms: Tensor, logprobs: Tensor, reference: Tensor | None, kl: float, ratio: Tensor | None = None
) -> Tensor:
    """Return `terms` plus kl times the k3 estimate, where there is a coefficient; times `ratio` [M], where given.

    k3 alone has the right value, but the gradient of another divergence: in expectation that of KL(reference || policy)
    at the sampled tokens. With the ratio pi / pi_old, whose gradient counts too, it is that of KL(policy || reference).
    """
    if kl == 0.0:
        return terms
    estimate = kl_k3(logprobs, reference_of(reference))
    return terms + kl * (estimate if ratio is None else ratio * estimate)


def reference_of(reference: Tensor | None) -> Tensor:
    """Return the reference log-probabilities. Raises ValueError where there are none, for a penalty that needs them."""
    if reference is None:
        raise ValueError("a KL penalty needs reference log-probabilities")
    return reference


def is_recorded(loss_temperature: float, temperature: float, top_p: float) -> bool:
    """Return whether the engine records log-probabilities under the softmax that a loss takes.

    They are recorded at temperature 1, and under the distribution that was sampled from (`temperature`, `top_p`).
    """
    return loss_temperature == 1.0 or (loss_temperature == temperature and top_p == 1.0)


def check_objective(kl: float, loss_temperature: float) -> None:
    """Raise ConfigError for coefficients that make no sense."""
    if kl < 0:
        raise ConfigError(f"method.kl is {kl}: a penalty must not be negative; set 0 or more.")
    if loss_temperature <= 0:
        raise ConfigError(
            f"method.loss_temperature is {loss_temperature}: it divides the logits; set a number above 0."
        )
