"""What can be said of a model before it is loaded: its shape, from its configuration or a list of public ones."""

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from creditree.errors import ModelError
from creditree.models.load import locate


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder-only model."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int

    def projection(self, target: str) -> tuple[int, int] | None:
        """Return (inputs, outputs) of a projection by its name in a layer, or None for one that is not known."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        known = {
            "q_proj": (self.hidden_size, queries),
            "k_proj": (self.hidden_size, keys),
            "v_proj": (self.hidden_size, keys),
            "o_proj": (queries, self.hidden_size),
            "gate_proj": (self.hidden_size, self.intermediate_size),
            "up_proj": (self.hidden_size, self.intermediate_size),
            "down_proj": (self.intermediate_size, self.hidden_size),
        }
        return known.get(target)

    def lora_parameters(self, rank: int, layers: int, targets: tuple[str, ...]) -> int | None:
        """Return how many numbers an adapter trains: rank * (inputs + outputs) a matrix. None: unknown projection."""
        sizes = [self.projection(target) for target in targets]
        if any(size is None for size in sizes):
            return None
        return layers * sum(rank * sum(size) for size in sizes if size is not None)


PUBLIC_SHAPES = {
    "Qwen/Qwen2-1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, 131072),
    "Qwen/Qwen2-1.5B-Instruct": Shape(28, 1536, 12, 2, 128, 8960, 151936, 32768),
}
"""Shapes of models on the hub that recipes name, so that `--dry-run` works offline."""


def shape_of(name: str) -> Shape | None:
    """Return the shape of a model without loading it or asking the network; None where it cannot be known."""
    if name in PUBLIC_SHAPES:
        return PUBLIC_SHAPES[name]
    try:
        config: Any = AutoConfig.from_pretrained(locate(name), local_files_only=True, trust_remote_code=False)
    except ModelError:
        raise
    except (OSError, ValueError):
        return None
    if not all(hasattr(config, key) for key in ("num_attention_heads", "intermediate_size", "max_position_embeddings")):
        return None
    heads = int(config.num_attention_heads)
    return Shape(
        num_layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        num_heads=heads,
        num_kv_heads=int(getattr(config, "num_key_value_heads", heads)),
        head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        intermediate_size=int(config.intermediate_size),
        vocab_size=int(config.vocab_size),
        max_positions=int(config.max_position_embeddings),
    )
