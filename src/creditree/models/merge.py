"""An adapter added into the weights of its base, W + s B A, for programs that read no adapters.

What is merged is a copy that is written away: the live base is never touched (bfloat16 would drift).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from creditree.errors import ModelError
from creditree.models.architecture import attention_of
from creditree.models.load import Dtype, load_model
from creditree.models.plain import plain_model
from creditree.models.quantise import COMPUTE, QUANTISATIONS, QuantisedLinear, saved_as
from creditree.models.reading import load_config, load_weights
from creditree.models.saved_adapter import SavedAdapter


class WeightFiles:
    """Weights in files of a folder instead of in memory: the system keeps of them in memory what there is room for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """Return the same numbers, in a file."""
        self._count += 1
        file = str(self._folder / f"{self._count}.bin")
        kept = torch.from_file(file, shared=True, size=tensor.numel(), dtype=tensor.dtype).view(tensor.shape)
        return kept.copy_(tensor)


@torch.no_grad()
def merged(name: str, dtype: Dtype, adapter: SavedAdapter, scratch: WeightFiles) -> Any:
    """Return transformers' model `name` with an adapter in its weights, on the CPU, ready to be saved.

    Its weights keep the precision of their files, which are mapped; those of a base that is held quantised (`dtype`
    int8 or nf4, in which the adapter was trained) are what the codes stand for, in bfloat16. What is changed lies in
    `scratch`, so that memory holds a matrix or two at a time. Raises ModelError.
    """
    model = _base(name, dtype, scratch)
    modules = dict(model.named_modules())
    for place, change in adapter.changes():
        module = modules.get(place)
        if module is None:
            raise ModelError(f"the adapter in '{adapter.directory}' has {place}, which is nothing in model '{name}'.")
        across = change.T if isinstance(module, Conv1D) else change
        weight = module.weight.detach()
        if weight.shape != across.shape:
            raise ModelError(
                f"the adapter in '{adapter.directory}' belongs to another model: {place} is {tuple(weight.shape)} in "
                f"'{name}' and {tuple(across.shape)} there."
            )
        total = (weight.double() + across).to(weight.dtype)
        module.weight = torch.nn.Parameter(scratch.keep(total), requires_grad=False)
    return model


def base_model(name: str, dtype: Dtype) -> Any:
    """Return the base of an adapter as transformers runs it, on the CPU, its weights mapped from their files.

    A quantised base (`dtype` int8 or nf4) is as it was trained on; else weights have the type of their files.
    """
    if not is_dequantised(name, dtype):
        return load_weights(name, dtype="auto").eval()
    model = load_model(name, dtype).network.model
    model.set_attn_implementation(attention_of(model.config))
    return model


def is_dequantised(name: str, dtype: Dtype) -> bool:
    """Return whether what an adapter is merged into is made from the codes of a quantised base."""
    return dtype in QUANTISATIONS or saved_as(load_config(name)) is not None


def _base(name: str, dtype: Dtype, scratch: WeightFiles) -> Any:
    """Return the base with plain matrices."""
    model = base_model(name, dtype)
    if not any(isinstance(module, QuantisedLinear) for module in model.modules()):
        return model
    state = model.state_dict()
    for place, module in model.named_modules():
        if isinstance(module, QuantisedLinear):
            state[f"{place}.weight"] = scratch.keep(module.matrix(COMPUTE))
    return plain_model(model, state)
