"""Bytes that the weights of a base model take in memory, known before it is loaded."""

import torch

from creditree.models.load import Dtype
from creditree.models.quantise import BLOCK, BLOCK_OF_SCALES, COMPUTE, QuantisedLinear
from creditree.models.shapes import Shape

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_FLOAT = 4
_TABLES = 16 * _FLOAT + 256 * _FLOAT
"""nf4's 16 quantiles and the 256 values that a scale may have: once a model."""


def weight_bytes(shape: Shape, dtype: Dtype) -> int:
    """Return the bytes that `load_model` holds for a model of the Llama family, without any adapter.

    In int8 and nf4 the projections are quantised; everything else is bfloat16.
    """
    rotary = 2 * (shape.head_dim // 2) * _FLOAT  # frequencies, and transformers' copy of them: float32 always
    if dtype not in ("int8", "nf4"):
        return shape.num_parameters * _itemsize(getattr(torch, dtype)) + rotary
    matrices = [size for name in PROJECTIONS if (size := shape.projection(name)) is not None]
    quantised = shape.num_layers * sum(inputs * outputs for inputs, outputs in matrices)
    rest = (shape.num_parameters - quantised) * _itemsize(COMPUTE)
    matrix_bytes = _int8_bytes if dtype == "int8" else _nf4_bytes
    tables = _TABLES if dtype == "nf4" else 0
    return shape.num_layers * sum(matrix_bytes(*size) for size in matrices) + tables + rest + rotary


def held_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of every tensor that a loaded model holds, each counted once."""
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        if isinstance(module, QuantisedLinear):
            tensors.extend(module.held())
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def _int8_bytes(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs * _FLOAT


def _nf4_bytes(inputs: int, outputs: int) -> int:
    numbers = inputs * outputs
    scales = -(-numbers // BLOCK)
    return numbers // 2 + scales + -(-scales // BLOCK_OF_SCALES) * _FLOAT + _FLOAT  # the last: the scales' mean


def _itemsize(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()
