"""What native code reads of a model: which tensors it takes, and their addresses in the order in which it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from creditree.models.family import LayerWeights, ProjectionWeights, norm_eps, read_layer
from creditree.models.quantise import BLOCK, BLOCK_OF_SCALES, Int8Linear, Nf4Linear
from creditree.models.transformer import Transformer

_PLAIN, _INT8, _NF4 = range(3)
"""`Format` in formats.h."""


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """The tensors of a model of the Llama family, all of them laid out as native code reads them."""

    layers: tuple[LayerWeights, ...]
    embed: Tensor
    norm: Tensor
    head: Tensor
    head_bias: Tensor | None
    eps: float

    def largest(self) -> list[Tensor]:
        """Return the matrices, of which every number is read at every step."""
        return [self.head, *(projection.weight for layer in self.layers for projection in layer.projections)]

    def addresses(self, rope: Sequence[Tensor]) -> tuple[list[int], list[float]]:
        """Return addresses and sizes, and numbers, as `make` in decode.cpp takes them one after the other."""
        ends = (self.embed, self.norm, self.head, self.head_bias, *rope)
        addresses, numbers = [pointer(tensor) for tensor in ends], list[float]()
        for layer in self.layers:
            addresses += [pointer(t) for t in (layer.input_norm, layer.post_norm, layer.q_norm, layer.k_norm)]
            for projection in layer.projections:
                form, scale, offset = _quantised(projection)
                tensors = [pointer(t) for t in (projection.weight, projection.bias, *scale)]
                lora = (
                    [0, 0, 0]
                    if projection.lora is None
                    else [pointer(projection.lora.a), pointer(projection.lora.b), len(projection.lora.a)]
                )
                addresses += [form, projection.outputs, *tensors, *lora]
                numbers += [offset, 0.0 if projection.lora is None else projection.lora.scaling]
        return addresses, numbers


def read_weights(transformer: Transformer) -> Weights | None:
    """Return a model's weights where it is computed as the family is, and all of them can be read in place."""
    layers = [read_layer(layer) for layer in transformer.decoder_layers]
    embed, norm, head = transformer.ends
    eps = norm_eps(norm)
    if eps is None or (type(embed), type(head)) != (torch.nn.Embedding, torch.nn.Linear):
        return None
    readable = tuple(layer for layer in layers if layer is not None)
    if len(readable) != len(layers) or any(layer.eps != eps for layer in readable):
        return None
    weights = Weights(readable, embed.weight, norm.weight, head.weight, head.bias, eps)
    return weights if all(_is_readable(*tensor) for tensor in _tensors(weights, transformer.dtype)) else None


def pointer(tensor: Tensor | None) -> int:
    """Return the address of a tensor's first number, 0 for none."""
    return 0 if tensor is None else int(tensor.data_ptr())


def _is_readable(tensor: Tensor | None, dtype: torch.dtype) -> bool:
    return tensor is None or (tensor.dtype == dtype and tensor.is_contiguous())


def _tensors(weights: Weights, dtype: torch.dtype) -> Iterator[tuple[Tensor | None, torch.dtype]]:
    """Yield every tensor with the type that it has to have: adapters that in which sums are kept."""
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    for tensor in (weights.embed, weights.norm, weights.head, weights.head_bias):
        yield tensor, dtype
    for layer in weights.layers:
        for tensor in (layer.input_norm, layer.post_norm, layer.q_norm, layer.k_norm):
            yield tensor, dtype
        for projection in layer.projections:
            yield projection.bias, dtype
            if projection.lora is not None:
                yield from ((projection.lora.a, sums), (projection.lora.b, sums))
            yield from [(projection.weight, dtype)] if projection.quantised is None else _codes(projection, dtype)


def _codes(projection: ProjectionWeights, dtype: torch.dtype) -> Iterator[tuple[Tensor | None, torch.dtype]]:
    """Yield the tensors of a quantised layer, or one that cannot be read where native code does not know the layer."""
    layer: Any = projection.quantised
    if dtype == torch.bfloat16 and isinstance(layer, Int8Linear):
        yield from ((projection.weight, torch.int8), (layer.scale, torch.float32))
    elif dtype == torch.bfloat16 and isinstance(layer, Nf4Linear) and _has_known_blocks(layer.state):
        state = layer.state
        yield from ((projection.weight, torch.uint8), (state.code, torch.float32))
        yield state.absmax, torch.uint8 if state.nested else torch.float32
        if state.nested:
            yield from ((tensor, torch.float32) for tensor in (state.state2.code, state.state2.absmax))
    else:
        yield torch.empty(0, dtype=torch.bool), dtype


def _has_known_blocks(state: Any) -> bool:
    is_nf4 = state.quant_type == "nf4" and int(state.blocksize) == BLOCK
    return is_nf4 and (not state.nested or int(state.state2.blocksize) == BLOCK_OF_SCALES)


def _quantised(projection: ProjectionWeights) -> tuple[int, tuple[Tensor | None, ...], float]:
    """Return a matrix's format, the five tables of scales, and the offset of nf4's."""
    layer: Any = projection.quantised
    if layer is None:
        return _PLAIN, (None,) * 5, 0.0
    if isinstance(layer, Int8Linear):
        return _INT8, (layer.scale, None, None, None, None), 0.0
    state = layer.state
    if not state.nested:
        return _NF4, (None, state.code, None, None, state.absmax), 0.0
    return _NF4, (None, state.code, state.absmax, state.state2.code, state.state2.absmax), float(state.offset)
