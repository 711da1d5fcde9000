"""The weights of a Llama-family layer (Qwen2, Qwen3, Llama, Mistral), read where transformers and peft hold them."""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from creditree.models.quantise import QuantisedLinear

FAMILY = ("Qwen2DecoderLayer", "Qwen3DecoderLayer", "LlamaDecoderLayer", "MistralDecoderLayer")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_IN_ATTENTION = 4


@dataclass(frozen=True, eq=False, slots=True)
class AdapterWeights:
    """An adapter of one projection: scaling * B A, with A [rank, inputs] and B [outputs, rank]."""

    a: Tensor
    b: Tensor
    scaling: float


@dataclass(frozen=True, eq=False, slots=True)
class ProjectionWeights:
    """A linear layer's matrix [outputs, inputs], its bias and its adapter, where it has them and they are switched on.

    `weight` holds the matrix, or the codes of a layer that is `quantised`.
    """

    weight: Tensor
    bias: Tensor | None
    lora: AdapterWeights | None
    outputs: int
    quantised: QuantisedLinear | None


@dataclass(frozen=True, eq=False, slots=True)
class LayerWeights:
    """A decoder layer: two norms, two norms of queries and keys (Qwen3; else None), and `PROJECTIONS` in order."""

    input_norm: Tensor
    post_norm: Tensor
    q_norm: Tensor | None
    k_norm: Tensor | None
    projections: tuple[ProjectionWeights, ...]
    eps: float


def projection_modules(layer: Any) -> dict[str, Any] | None:
    """Return the modules of a layer's projections by name, or None if it is none of the family, or somebody hooks in.

    Who reads a layer, for torch or for native code, asks here first: what is computed from its weights alone must be
    all that the layer does.
    """
    if type(layer).__name__ not in FAMILY or _is_hooked(layer):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    if type(getattr(mlp, "act_fn", None)).__name__ not in ("SiLU", "SiLUActivation"):
        return None
    return {name: getattr(attention if i < _IN_ATTENTION else mlp, name) for i, name in enumerate(PROJECTIONS)}


def plain_adapter(module: Any) -> str | None:
    """Return the name of the one adapter of a LoRA layer, or None where there is not one, or it is more than B A x.

    Variants such as DoRA, a bias, and an adapter that was merged into the matrix are more.
    """
    if len(module.active_adapters) != 1 or module.merged:
        return None
    name: str = module.active_adapters[0]
    more = name in module.lora_variant or module.use_dora.get(name) or module.lora_bias.get(name)
    return None if more or name not in module.lora_A else name


def read_layer(layer: Any) -> LayerWeights | None:
    """Return the weights of a layer, or None if anything in it is not what the family computes."""
    modules = projection_modules(layer)
    if modules is None:
        return None
    attention = layer.self_attn
    projections = [_projection(module) for module in modules.values()]
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    if hasattr(attention, "q_norm"):
        norms += [attention.q_norm, attention.k_norm]
    eps = {norm_eps(norm) for norm in norms}
    if any(projection is None for projection in projections) or len(eps) != 1 or None in eps:
        return None
    return LayerWeights(
        layer.input_layernorm.weight,
        layer.post_attention_layernorm.weight,
        attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        tuple(projection for projection in projections if projection is not None),
        float(eps.pop() or 0.0),
    )


def norm_eps(norm: Any) -> float | None:
    """Return the epsilon of an RMS norm with a weight, or None if it is something else."""
    if not type(norm).__name__.endswith("RMSNorm") or getattr(norm, "weight", None) is None:
        return None
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return None if eps is None else float(eps)


def _is_hooked(layer: Any) -> bool:
    return any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in layer.modules()
    )


def is_lora_linear(module: Any) -> bool:
    """Return whether a module is peft's linear layer with adapters; where peft is not loaded, none is."""
    lora = sys.modules.get("peft.tuners.lora")
    return lora is not None and type(module) is lora.Linear


def _projection(module: Any) -> ProjectionWeights | None:
    if _is_linear(module):
        return _of(module, None)
    if not is_lora_linear(module) or not _is_linear(module.base_layer) or module.merged:
        return None
    base = module.base_layer
    if module.disable_adapters or not module.active_adapters:
        return _of(base, None)
    name = plain_adapter(module)
    if name is None or (module.training and not isinstance(module.lora_dropout[name], torch.nn.Identity)):
        return None
    lora: Any = module
    a, b = lora.lora_A[name].weight, lora.lora_B[name].weight
    return _of(base, AdapterWeights(a, b, float(lora.scaling[name])))


def _is_linear(module: Any) -> bool:
    return type(module) is torch.nn.Linear or isinstance(module, QuantisedLinear)


def _of(base: Any, lora: AdapterWeights | None) -> ProjectionWeights:
    quantised = base if isinstance(base, QuantisedLinear) else None
    return ProjectionWeights(base.weight, base.bias, lora, base.out_features, quantised)
