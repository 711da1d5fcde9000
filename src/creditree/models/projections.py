"""The projections of a model that an adapter may go on, whatever the architecture calls them."""

import torch
from transformers.pytorch_utils import Conv1D

from creditree.errors import ConfigError, did_you_mean
from creditree.models.network import Network

FUSED = ("qkv_proj", "c_attn", "query_key_value", "Wqkv")
"""What holds queries, keys and values together, where it does: Phi-3, GPT-2, GPT-NeoX and Falcon, MPT."""
OTHER_NAMES = {
    "q_proj": FUSED,
    "k_proj": FUSED,
    "v_proj": FUSED,
    "o_proj": ("out_proj", "dense"),
    "gate_proj": ("gate_up_proj",),
    "up_proj": ("gate_up_proj", "fc1", "c_fc", "dense_h_to_4h"),
    "down_proj": ("fc2", "dense_4h_to_h"),
}
"""What else the projections of a Llama's layer are called."""


def projections(network: Network, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the model's own names of projections that are named as they are or as Llama's, each once.

    Raises ConfigError for one that its layers do not have.
    """
    known = {name.rsplit(".", 1)[-1]: module for name, module in _linear(network)}
    names = []
    for target in targets:
        own = next((name for name in (target, *OTHER_NAMES.get(target, ())) if name in known), None)
        if own is None:
            raise ConfigError(
                f"lora.targets names '{target}', which is no projection in this model's layers."
                f"{did_you_mean(target, known)}"
            )
        names.append(own)
    return tuple(dict.fromkeys(names))


def has_conv1d(network: Network, names: tuple[str, ...]) -> bool:
    """Return whether projections are held the other way round, [inputs, outputs], as GPT-2's are."""
    return any(isinstance(module, Conv1D) and name.rsplit(".", 1)[-1] in names for name, module in _linear(network))


def _linear(network: Network) -> list[tuple[str, torch.nn.Module]]:
    layers = f".{network.layers_name}."
    return [
        (name, module)
        for name, module in network.model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and layers in name
    ]
