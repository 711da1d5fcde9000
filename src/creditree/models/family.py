"""The weights of a Llama-family layer (Qwen2, Qwen3, Llama, Mistral), read where transformers and peft hold them."""

from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor

from creditree.models.quantise import QuantisedLinear

FAMILY = ("Qwen2DecoderLayer", "Qwen3DecoderLayer", "LlamaDecoderLayer", "MistralDecoderLayer")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_IN_ATTENTION = 4


@dataclass(frozen=True, eq=False, slots=True)
class Lora:
    """An adapter of one projection: scaling * B A, with A [rank, inputs] and B [outputs, rank]."""

    a: Tensor
    b: Tensor
    scaling: float


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """A linear layer's matrix [outputs, inputs], its bias and its adapter, where it has them and they are switched on.

    `weight` holds the matrix, or the codes of a layer that is `quantised`.
    """

    weight: Tensor
    bias: Tensor | None
    lora: Lora | None
    outputs: int
    quantised: QuantisedLinear | None


@dataclass(frozen=True, eq=False, slots=True)
class LayerWeights:
    """A decoder layer: two norms, two norms of queries and keys (Qwen3; else None), and `PROJECTIONS` in order."""

    input_norm: Tensor
    post_norm: Tensor
    q_norm: Tensor | None
    k_norm: Tensor | None
    projections: tuple[Projection, ...]
    eps: float


def read_layer(layer: Any) -> LayerWeights | None:
    """Return the weights of a layer, or None if anything in it is not what the family computes."""
    if type(layer).__name__ not in FAMILY or _hooked(layer):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    if type(getattr(mlp, "act_fn", None)).__name__ not in ("SiLU", "SiLUActivation"):
        return None
    parts = [getattr(attention if i < _IN_ATTENTION else mlp, name) for i, name in enumerate(PROJECTIONS)]
    projections = [_projection(part) for part in parts]
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    if hasattr(attention, "q_norm"):
        norms += [attention.q_norm, attention.k_norm]
    eps = {norm_eps(norm) for norm in norms}
    if any(one is None for one in projections) or len(eps) != 1 or None in eps:
        return None
    return LayerWeights(
        layer.input_layernorm.weight,
        layer.post_attention_layernorm.weight,
        attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        tuple(one for one in projections if one is not None),
        float(eps.pop() or 0.0),
    )


def norm_eps(norm: Any) -> float | None:
    """Return the epsilon of an RMS norm with a weight, or None if it is something else."""
    if not type(norm).__name__.endswith("RMSNorm") or getattr(norm, "weight", None) is None:
        return None
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return None if eps is None else float(eps)


def _hooked(layer: Any) -> bool:
    return any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in layer.modules()
    )


def _projection(module: Any) -> Projection | None:
    if _is_linear(module):
        return _of(module, None)
    if type(module) is not LoraLinear or not _is_linear(module.base_layer) or module.merged:
        return None
    base = module.base_layer
    if module.disable_adapters or not module.active_adapters:
        return _of(base, None)
    name = module.active_adapters[0]
    plain = len(module.active_adapters) == 1 and not module.use_dora.get(name) and not module.lora_bias.get(name)
    dropout = module.lora_dropout[name]
    if not plain or (module.training and not isinstance(dropout, torch.nn.Identity)):
        return None
    lora: Any = module
    a, b = lora.lora_A[name].weight, lora.lora_B[name].weight
    return _of(base, Lora(a, b, float(lora.scaling[name])))


def _is_linear(module: Any) -> bool:
    return type(module) is torch.nn.Linear or isinstance(module, QuantisedLinear)


def _of(base: Any, lora: Lora | None) -> Projection:
    quantised = base if isinstance(base, QuantisedLinear) else None
    return Projection(base.weight, base.bias, lora, base.out_features, quantised)
