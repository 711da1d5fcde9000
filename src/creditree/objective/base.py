"""What an objective is: the loss of single tokens, and a penalty on the trained matrices."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from creditree.errors import ConfigError
from creditree.piece import Circumstances, Piece, number
from creditree.returned import Returned

Estimator = Literal["k1", "k2", "k3"]
Correction = Literal["none", "token", "sequence", "token_mask", "sequence_mask"]


@dataclass(frozen=True, slots=True)
class L2Penalty:
    """lambda * sum ||W||_F^2 over the LoRA matrices A and B (arXiv 2504.20834, section 3.2).

    In the loss (``decoupled=False``, as printed) Adam divides its gradient by its own size. Decoupled, the optimiser
    step is followed by W <- W (1 - 2 lr lambda), so that lambda keeps its meaning.
    """

    coefficient: float = 0.0
    decoupled: bool = False

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


@dataclass(frozen=True)
class Objective(Piece, ABC):
    """What is maximised. `loss` is what an objective has of its own; penalties are the same for all.

    `uses_old`: whether the loss looks at old log-probabilities. `weighs_by_probability`: whether it weighs a token by
    its probability already, so that a pair must be counted once, not once for each completion that holds it.
    `by_sequence`: it wants the ratio of a whole sequence, so `old_logprobs` are such that log pi - log pi_old of each
    term is the mean of that over its branch's terms, while the gradient stays that of the token's own log pi.
    """

    _: KW_ONLY
    kl: float = number(
        0.0, "coefficient of the KL penalty against the base model", least=0, why="a penalty must not be negative"
    )
    kl_estimator: Estimator = number("k3", "how the KL divergence is estimated", quiet=True)
    entropy_bonus: float = number(
        0.0, "coefficient of the policy's entropy, which is maximised", least=0, why="a bonus is no penalty", quiet=True
    )
    l2: float = number(
        0.0,
        "coefficient of the squared Frobenius norm of the LoRA matrices",
        least=0,
        why="a penalty must not be negative",
    )
    l2_decoupled: bool = number(False, "apply l2 after the optimiser step instead of in the loss")
    loss_temperature: float = number(
        1.0, "temperature of the log-probabilities in the loss", above=0, why="it divides the logits"
    )
    sampler_correction: Correction = number(
        "none",
        "importance weight of learner over engine, of a token or a sequence, cut at the cap or masked above it",
        quiet=True,
    )
    sampler_cap: float = number(
        2.0,
        "largest importance weight of sampler_correction",
        least=1,
        why="below 1 what engine and learner agree on would be cut too",
        quiet=True,
    )
    axis: ClassVar[str] = "objective"
    uses_old: ClassVar[bool] = False
    weighs_by_probability: ClassVar[bool] = False
    by_sequence: ClassVar[bool] = False

    @property
    def corrects(self) -> bool:
        """Whether terms are weighed by how far the learner's probability of a token is from the engine's."""
        return self.sampler_correction != "none"

    @property
    def penalty(self) -> L2Penalty:
        """The penalty on the LoRA matrices, once an update."""
        return L2Penalty(self.l2, self.l2_decoupled)

    @abstractmethod
    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss (to minimise) of each term [M] before its weight, without penalties.

        `logprobs` and `old_logprobs` [M]: under the policy, with gradient, and under the policy before the update, both
        of logits / loss_temperature. `advantage` [M].
        """

    def divergence(self, logprobs: Tensor, reference: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the estimate of KL(policy || reference) of each term [M]."""
        return estimate_kl(self.kl_estimator, reference - logprobs)

    def terms(self, logprobs: Tensor, reference: Tensor | None, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Return the loss of each term [M] before its weight.

        As for `loss`; `reference` [M]: under the base model, None without a KL penalty. Raises ConfigError where
        `loss` or `divergence` do not give a number for each term.
        """
        loss = of_terms(self, "loss", self.loss(logprobs, advantage, old_logprobs), logprobs)
        if self.entropy_bonus:
            loss = loss + self.entropy_bonus * negative_entropy(logprobs)
        if self.kl == 0.0:
            return loss
        divergence = self.divergence(logprobs, reference_of(reference), old_logprobs)
        return loss + self.kl * of_terms(self, "divergence", divergence, logprobs)

    def clipped(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor | None:
        """Return which terms [M] do not learn because their ratio is out of bounds; None where there are no bounds."""
        return None

    def check(self, run: Circumstances) -> None:
        """Raise ConfigError if no recorded log-probability is of the softmax that the loss takes, where it takes one.

        They are recorded at temperature 1, and under the distribution that was sampled from. And for an entropy bonus
        or a correction where pairs are weighed by their probability: it is estimated by tokens as they are sampled.
        """
        if self.entropy_bonus and self.weighs_by_probability:
            raise ConfigError(
                f"method.entropy_bonus is {self.entropy_bonus}, which is estimated by tokens as they are sampled, but "
                f"objective '{self.name}' counts each pair once; leave it out, or use objective: policy_gradient."
            )
        if self.corrects and self.weighs_by_probability:
            raise ConfigError(
                f"method.sampler_correction is '{self.sampler_correction}', but objective '{self.name}' counts each "
                "pair once, whatever the probability under which it was sampled; leave it out, or use objective: "
                "policy_gradient."
            )
        if not (self.uses_old or self.corrects) or is_recorded(self.loss_temperature, run.temperature, run.top_p):
            return
        cut = f" and sampling.top_p {run.top_p}" if run.top_p != 1.0 else ""
        raise ConfigError(
            f"method.loss_temperature is {self.loss_temperature}, but objective '{self.name}' divides by the "
            f"probability under which a token was sampled, which is recorded at temperature 1 and at "
            f"sampling.temperature {run.temperature}{cut}; set loss_temperature: 1, or equal to sampling.temperature "
            "with top_p: 1."
        )


def of_terms(objective: Objective, function: str, value: object, logprobs: Tensor) -> Tensor:
    """Return what a function of an objective gave, of the shape of `logprobs` [M]; raise ConfigError for anything else.

    A mean or a sum over terms would be multiplied by the weight of each, without a word.
    """
    returned = Returned(objective, function, value)
    wanted = f"a tensor with one number for each of the {len(logprobs)} terms"
    tensor = returned.a(Tensor, wanted)
    if tensor.shape != logprobs.shape:
        raise returned.refused(f"a tensor of shape {tuple(tensor.shape)}", wanted)
    return tensor


def estimate_kl(name: Estimator, difference: Tensor) -> Tensor:
    """Return an estimate of KL(policy || reference) by d = log pi_reference - log pi [M] of tokens that pi sampled.

    ``k1``: -d, unbiased, below 0 for single tokens, and its own gradient is 0 in expectation: it teaches with
    `kl_ratio` only.  ``k2``: d^2 / 2, biased, and its gradient is that of KL(policy || reference).  ``k3``: exp(d) - d
    - 1, unbiased and never below 0; its gradient is that of KL(reference || policy) (Schulman, 2020).
    """
    if name == "k1":
        return -difference
    return difference.square() / 2 if name == "k2" else k3(difference)


def negative_entropy(logprobs: Tensor) -> Tensor:
    """Return an estimate of -H [M] by log pi of tokens that pi sampled, and of its gradient.

    E[log pi] is -H, and the gradient of -H is E[log pi grad log pi], so the value is log pi, times pi / pi.detach().
    """
    value = logprobs.detach()
    return value * torch.exp(logprobs - value)


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return exp(d) - d - 1, d = reference - logprobs [M]: the k3 estimate of KL(policy || reference), never < 0."""
    return k3(reference - logprobs)


def k3(difference: Tensor) -> Tensor:
    """Return exp(d) - d - 1 [M]."""
    return torch.exp(difference) - difference - 1.0


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
