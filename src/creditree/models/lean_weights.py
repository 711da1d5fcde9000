"""Read transformers' layers into lean ones: matrices laid side by side, so that three products are one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from creditree.models.family import PROJECTIONS, is_lora_linear, plain_adapter, projection_modules
from creditree.models.lean import Heads, LeanLayer, Rest
from creditree.models.norm import Norm
from creditree.models.projection import Dense, Frozen, Lora, Projection, Quantised
from creditree.models.quantise import QuantisedLinear

_QKV, _OUTPUT, _GATE_UP, _DOWN = PROJECTIONS[:3], PROJECTIONS[3:4], PROJECTIONS[4:6], PROJECTIONS[6:]


def lean_layer(layer: Any) -> LeanLayer | None:
    """Return the lean form of a decoder layer, or None if anything in it is not what the family computes.

    Matrices that are multiplied with the same input are laid one after the other in memory, once; the modules go on
    with views of it, so that nothing is held twice.
    """
    modules = projection_modules(layer)
    if modules is None:
        return None
    attention = layer.self_attn
    input_norm, post_norm = Norm.read(layer.input_layernorm), Norm.read(layer.post_attention_layernorm)
    head_norms = _head_norms(attention)
    groups = [_projection([modules[name] for name in group]) for group in (_QKV, _OUTPUT, _GATE_UP, _DOWN)]
    qkv, output, gate_up, down = groups
    if qkv is None or output is None or gate_up is None or down is None or input_norm is None or post_norm is None:
        return None
    if head_norms is None:
        return None
    size = int(attention.head_dim)
    queries, keys = (_outputs(modules[name]) // size for name in _QKV[:2])
    parts = (
        Heads(input_norm, qkv, _for_heads(head_norms, queries, keys), (queries, keys), keys),
        Heads(input_norm, _part(qkv, modules, _QKV[:1], 0), _for_heads(head_norms, queries, 0), (queries,), 0),
        Heads(
            input_norm, _part(qkv, modules, _QKV[1:], queries * size), _for_heads(head_norms, 0, keys), (keys,), keys
        ),
    )
    return LeanLayer(int(attention.layer_idx), float(attention.scaling), parts, Rest(output, post_norm, gate_up, down))


def _head_norms(attention: Any) -> tuple[Norm, ...] | None:
    """Return the norms of queries and keys, nothing where there are none, or None for what is no norm."""
    if not hasattr(attention, "q_norm"):
        return ()
    norms = tuple(norm for norm in (Norm.read(attention.q_norm), Norm.read(attention.k_norm)) if norm is not None)
    return norms if len(norms) == 2 and norms[0].eps == norms[1].eps else None


def _for_heads(norms: tuple[Norm, ...], queries: int, keys: int) -> Norm | None:
    if not norms:
        return None
    rows = [norm.weight.expand(count, -1) for norm, count in zip(norms, (queries, keys), strict=True)]
    return Norm(torch.cat(rows), norms[0].eps)


def _projection(modules: Sequence[Any]) -> Projection | None:
    """Return the projections of one input as one, or None where a module is not plain enough."""
    bases: list[Any] = [module.base_layer if is_lora_linear(module) else module for module in modules]
    loras: list[Lora] = []
    start = 0
    for module, base in zip(modules, bases, strict=True):
        if module is not base:
            lora = _lora(module, start, start + base.out_features)
            if lora is None:
                return None
            loras.append(lora)
        start += base.out_features
    frozen = _frozen(bases)
    return None if frozen is None else Projection(frozen, tuple(loras))


def _frozen(bases: Sequence[Any]) -> Frozen | None:
    if all(isinstance(base, QuantisedLinear) for base in bases):
        return Quantised(tuple(bases))
    if any(type(base) is not torch.nn.Linear for base in bases) or len({base.bias is None for base in bases}) != 1:
        return None
    if any(base.weight.requires_grad for base in bases) or len({base.weight.dtype for base in bases}) != 1:
        return None
    weight = _side_by_side([base.weight for base in bases])
    return Dense(weight, None if bases[0].bias is None else _side_by_side([base.bias for base in bases]))


def _lora(module: Any, start: int, stop: int) -> Lora | None:
    name = plain_adapter(module)
    if name is None:
        return None
    dropout = module.lora_dropout[name]
    if not isinstance(dropout, torch.nn.Identity | torch.nn.Dropout):
        return None
    rate = float(dropout.p) if isinstance(dropout, torch.nn.Dropout) else 0.0
    return Lora(module, name, module.lora_A[name].weight, module.lora_B[name].weight, rate, start, stop)


def _part(whole: Projection, modules: dict[str, Any], names: Sequence[str], start: int) -> Projection:
    """Return the projection of some neighbours within a whole, from column `start`."""
    bases = [getattr(modules[name], "base_layer", modules[name]) for name in names]
    stop = start + sum(base.out_features for base in bases)
    frozen = whole.frozen.rows(start, stop) if isinstance(whole.frozen, Dense) else Quantised(tuple(bases))
    inside = (lora for lora in whole.loras if start <= lora.start < stop)
    return Projection(frozen, tuple(lora.shifted(start) for lora in inside))


@torch.no_grad()
def _side_by_side(tensors: Sequence[torch.nn.Parameter]) -> Tensor:
    """Return the tensors joined along their rows, and make them views of it."""
    first = tensors[0]
    rows = sum(len(tensor) for tensor in tensors)
    if len(tensors) == 1:
        return first.detach()
    if _are_neighbours(tensors):
        return first.detach().as_strided((rows, *first.shape[1:]), first.stride())
    joined = torch.cat([tensor.detach() for tensor in tensors])
    start = 0
    for tensor in tensors:
        tensor.data = joined[start : start + len(tensor)]
        start += len(tensor)
    return joined


def _are_neighbours(tensors: Sequence[Tensor]) -> bool:
    storage, offset = tensors[0].untyped_storage().data_ptr(), tensors[0].storage_offset()
    for tensor in tensors:
        if tensor.untyped_storage().data_ptr() != storage or tensor.storage_offset() != offset:
            return False
        if not tensor.is_contiguous():
            return False
        offset += tensor.numel()
    return True


def _outputs(module: Any) -> int:
    return int(getattr(module, "base_layer", module).out_features)
