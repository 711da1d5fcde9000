"""Why an update is not made, and what AdamW would make of the weights, looked at before it is."""

import math

import numpy as np
import torch
from torch import Tensor

from creditree.learner.mismatch import Mismatch
from creditree.learner.optimiser import OptimiserSpec

PIECE = 1 << 22
"""Numbers that are looked at together: it bounds the memory, whatever a matrix has."""
LARGEST = float(np.finfo(np.float32).max)
LARGEST_WEIGHT = 65504.0
"""Float16 holds no larger numbers. Weights that work are far below; those that an explosion makes are soon above."""


def are_finite(*numbers: float) -> bool:
    """Return whether no number is NaN or infinite."""
    return all(map(math.isfinite, numbers))


def objection(loss: float, grad_norm: float, norm: float, mismatch: Mismatch, spec: OptimiserSpec) -> str | None:
    """Return why no update may be made of a gradient, None where one may.

    `grad_norm`: of the loss alone;  `norm`: with the penalty's gradient;  `mismatch`: of who sampled.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not are_finite(grad_norm, norm):
        return f"the gradient's norm is {norm if math.isfinite(grad_norm) else grad_norm}"
    if norm > spec.skip_grad_norm:
        return f"the gradient's norm is {max(grad_norm, norm):.3g}, above train.skip_grad_norm {spec.skip_grad_norm:g}"
    if mismatch.mean is not None and not mismatch.mean <= spec.max_mismatch:  # NaN is not below anything
        return (
            f"who samples and who learns differ by {mismatch.mean:.3g} nats a token, above train.max_mismatch "
            f"{spec.max_mismatch:g}"
        )
    return None


@torch.no_grad()
def stays_sound(optimiser: torch.optim.AdamW, rate: float, factor: float = 1.0) -> bool:
    """Return whether the optimiser's next step leaves every weight within `LARGEST_WEIGHT`; gradients are clipped.

    AdamW (arXiv 1711.05101): m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
    W' = factor * ((1 - rate * decay) W - rate / (1 - b1^t) * m' / (sqrt(v' / (1 - b2^t)) + eps).
    Nothing is changed. Looking first costs no copy of weights and moments, which undoing would need.
    """
    group = optimiser.param_groups[0]
    if not abs(rate * max(1.0, abs(factor))) < LARGEST:
        return False
    all_sound: Tensor | None = None
    for matrix in group["params"]:
        if matrix.grad is None:
            continue
        state = optimiser.state.get(matrix, {})
        weights, grads = matrix.reshape(-1), matrix.grad.reshape(-1)
        moments = [state[name].reshape(-1) if state else None for name in ("exp_avg", "exp_avg_sq")]
        step = float(state["step"]) + 1 if state else 1.0
        for start in range(0, len(weights), PIECE):
            piece = slice(start, start + PIECE)
            first, second = (None if moment is None else moment[piece] for moment in moments)
            new = _updated(weights[piece], grads[piece], first, second, step, group, rate)
            # what is not a number is not below anything
            sound = (new.mul_(factor).abs_() <= LARGEST_WEIGHT).all()
            all_sound = sound if all_sound is None else all_sound & sound
    return all_sound is None or bool(all_sound)


def _updated(
    weights: Tensor,
    grads: Tensor,
    first: Tensor | None,
    second: Tensor | None,
    step: float,
    group: dict[str, object],
    rate: float,
) -> Tensor:
    betas, eps, decay = group["betas"], group["eps"], group["weight_decay"]
    assert isinstance(betas, tuple)
    assert isinstance(eps, float)
    assert isinstance(decay, float | int)
    mean = grads * (1 - betas[0])
    square = grads.square() * (1 - betas[1])
    if first is not None and second is not None:
        mean.add_(first, alpha=betas[0])
        square.add_(second, alpha=betas[1])
    size = square.div_(1 - betas[1] ** step).sqrt_().add_(eps)
    new: Tensor = weights * (1 - rate * decay) - mean.div_(size).mul_(rate / (1 - betas[0] ** step))
    return new
