"""Weights are numbers: NaN and infinity are found where they are loaded."""

from collections.abc import Mapping

import torch
from torch import Tensor

from creditree.errors import ModelError


def check_finite(whose: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError that names the first tensor with a NaN or an infinite number in it. One pass over each."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        if not all(bool(end.isfinite()) for end in torch.aminmax(tensor.detach())):  # NaN is least and most
            raise ModelError(f"{whose} hold NaN or infinite numbers ({name}); get or save them again.")
