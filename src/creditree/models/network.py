"""What is known of a causal language model of transformers, whichever way it is run."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from creditree.errors import ModelError

STRETCHED = ("dynamic", "longrope")
"""Rotary angles that change for every token once a sequence passes a length, those stored before included."""
NO_LIMIT = 1 << 30
_LIMITS = ("max_position_embeddings", "seq_length", "max_seq_len")


class Network:
    """A model of transformers with its sizes. Subclasses run it: layer by layer, or by its own forward pass."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.config: Any = model.config

    @property
    def num_layers(self) -> int:
        """How many decoder layers there are."""
        return int(self.config.num_hidden_layers)

    @property
    def num_heads(self) -> int:
        """Query heads of a layer."""
        return int(self.config.num_attention_heads)

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def embedding(self) -> Any:
        """The module that embeds tokens."""
        return self.model.get_input_embeddings()

    @property
    def head(self) -> Any:
        """The module that predicts tokens."""
        return self.model.get_output_embeddings()

    @property
    def dtype(self) -> torch.dtype:
        """The base weights' data type."""
        dtype: torch.dtype = self.embedding.weight.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.embedding.weight.device
        return device

    @property
    def vocab_size(self) -> int:
        """Rows of the output head."""
        return int(self.head.weight.shape[0])

    @property
    def num_embeddings(self) -> int:
        """Rows of the embedding: token ids from 0 up to here exist."""
        return int(self.embedding.weight.shape[0])

    @property
    def max_positions(self) -> int:
        """The model's context length, in tokens."""
        return longest_sequence(self.config)

    @property
    def layers_name(self) -> str:
        """What the list of layers is called where it lies: ``layers``, GPT-2's ``h``."""
        return self._listed[0].rsplit(".", 1)[-1]

    @property
    def layer_modules(self) -> list[torch.nn.Module]:
        """The layers, from the first to the last."""
        return list(self._listed[1])

    @property
    def _listed(self) -> tuple[str, torch.nn.ModuleList]:
        for name, module in self.model.named_modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == self.num_layers:
                return str(name), module
        raise ModelError(f"{type(self.model).__name__} holds no list of its layers, so none of them can be adapted.")

    def check_attention(self) -> None:
        """Raise ConfigError where the attention weights of the layers cannot be had."""

    def link(self) -> None:
        """Take note that an adapter has changed the modules that hold the weights: nothing to do where these run."""

    def _some_ids(self, count: int) -> Tensor:
        return (torch.arange(count, device=self.device) * 7 % min(self.num_embeddings, 97)).unsqueeze(0)

    @property
    def _tolerance(self) -> float:
        return 0.05 if self.dtype in (torch.bfloat16, torch.float16) else 1e-4

    def _agree(self, ours: Tensor, theirs: Tensor) -> bool:
        tolerance = self._tolerance
        return torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))


def longest_sequence(config: Any) -> int:
    """Return a model's context length in tokens: the original one where longer sequences turn all angles anew."""
    limit = next((int(value) for name in _LIMITS if (value := getattr(config, name, None)) is not None), NO_LIMIT)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in STRETCHED:
        return min(limit, int(rope.get("original_max_position_embeddings") or limit))
    return limit
