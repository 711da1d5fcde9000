"""The numbers of the optimiser."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OptimiserSpec:
    """AdamW (arXiv 1711.05101), after clipping the gradient's global norm at `max_grad_norm`.

    `weight_decay`: every update takes W to W (1 - learning_rate * weight_decay) first.

    `micro_batch_tokens`: how many skeleton tokens go through the layers together (see `stretches_of`); the result
    does not depend on it beyond rounding. `skip_grad_norm`: a gradient whose global norm, before clipping, is larger
    than this is no direction to go, and its update is left out. So is one of completions whose log-probabilities by
    who sampled them are further than `max_mismatch` nats from the learner's own, as the mean of |d| over their tokens.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 1024
    weight_decay: float = 0.0
    skip_grad_norm: float = 1e6
    max_mismatch: float = math.inf
