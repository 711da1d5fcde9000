"""RMS norms in few operations, with their gradient written out."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from creditree.models.family import norm_eps


class Norm:
    """y = x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 at least.

    `weight` [..., width]: one for all, or a row for each head. It is frozen: there is no gradient for it.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        self.weight = weight.detach()
        self.eps = eps
        self._kind = torch.promote_types(weight.dtype, torch.float32)
        self._eps = torch.tensor(eps, dtype=self._kind, device=weight.device)

    @classmethod
    def read(cls, module: Any) -> "Norm | None":
        """Return the norm that a module computes, or None if that is something else, or its weight learns."""
        eps = norm_eps(module)
        return None if eps is None or module.weight.requires_grad else cls(module.weight, eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the normed x, without autograd."""
        if x.is_cuda and self.weight.dim() == 1:  # one kernel there; several on a CPU, and in two roundings
            return torch.nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return (x * self._scale(x)).mul_(self.weight).to(x.dtype)

    def back(self, grad: Tensor, x: Tensor) -> Tensor:
        """Return dx: with g = dy * weight and r = 1 / sqrt(mean(x^2) + eps), r g - r^3 mean(g x) x."""
        x = x.to(self._kind)
        scale = self._scale(x)
        grad = grad.to(self._kind) * self.weight
        along = torch.linalg.vecdot(grad, x).unsqueeze(-1).mul_(scale).mul_(scale).mul_(scale).div_(x.shape[-1])
        return torch.addcmul(grad.mul_(scale), x, along, value=-1.0)

    def with_gradient(self, x: Tensor) -> Tensor:
        """Return the normed x, with autograd."""
        out: Tensor = _Norm.apply(x, self)  # type: ignore[no-untyped-call]
        return out

    def _scale(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=self._kind)
        return torch.addcmul(self._eps, size, size, value=1.0 / x.shape[-1]).rsqrt_()


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Norm) -> Tensor:
        ctx.norm = norm
        ctx.save_for_backward(x)
        return norm(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.norm.back(grad, x).to(x.dtype), None
