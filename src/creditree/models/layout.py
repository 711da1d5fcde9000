"""What can be told of a model without running it: whether it is laid out as a chain of layers with full attention."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from creditree.errors import ModelError

USE = "use a Qwen2, Qwen3 or Llama"


class NotLayeredError(ModelError):
    """A model cannot be run layer by layer; its own forward pass may still do. `reason`: why, in words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}; {USE}.")


_PARTS = ("embed_tokens", "layers", "norm", "rotary_emb")


def kind_of(model: PreTrainedModel) -> str:
    """Return what messages call a model."""
    return type(model).__name__


def check_layout(model: PreTrainedModel) -> None:
    """Raise NotLayeredError for a model that is not embedding, layers, norm and head, or without rotary positions."""
    decoder = getattr(model, "model", None)
    if decoder is None or not all(hasattr(decoder, part) for part in _PARTS) or not hasattr(model, "lm_head"):
        raise NotLayeredError(f"{kind_of(model)} is not laid out as embedding, layers, norm and head")


def check_windows(name: str, config: Any) -> None:
    """Raise NotLayeredError for layers that attend to something else than everything before."""
    layer_types = set(getattr(config, "layer_types", None) or ["full_attention"])
    if layer_types != {"full_attention"}:
        kinds = ", ".join(sorted(layer_types - {"full_attention"}))
        raise NotLayeredError(f"{name} has layers of type {kinds}, and not of full attention alone")
    window = getattr(config, "sliding_window", None)
    if not hasattr(config, "layer_types") and window is not None and window < config.max_position_embeddings:
        raise NotLayeredError(f"{name} attends to the last {window} tokens only")


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise ModelError for a model one of whose sizes, by what it counts, is below 1."""
    for what, size in sizes.items():
        if size < 1:
            raise ModelError(
                f"the model has {size} {what}, so nothing can be sampled from it; get its config.json again."
            )
