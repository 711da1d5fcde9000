"""What can be said of a model before it is loaded: its shape, from its configuration or a list of public ones."""

from dataclasses import dataclass
from typing import Any

from creditree.disk import is_folder
from creditree.errors import ModelError, did_you_mean
from creditree.models.architecture import FAMILY, check_architecture, num_parameters
from creditree.models.directory import locate
from creditree.models.network import longest_sequence
from creditree.models.reading import load_config, reading

RANDOM = "random:"
"""Before the last part of a public name, in lower case: that shape, with random weights, nothing downloaded."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder-only model.

    `tied`: the output head is the embedding;  `qkv_bias`: queries, keys and values have a bias (Qwen2);  `qk_norm`:
    queries and keys are normed head by head (Qwen3). `whole`: why it is run by its own forward pass, None for layer by
    layer; `counted`: the numbers of a model beyond the family, whose layers may be anything (mixtures of experts).
    """

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    tied: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    whole: str | None = None
    counted: int | None = None

    @property
    def num_parameters(self) -> int:
        """How many numbers the base model holds: as counted, or of the Llama family, RMS norms and a gated MLP."""
        if self.counted is not None:
            return self.counted
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = 2 * self.hidden_size * (queries + keys)
        attention += (queries + 2 * keys) * self.qkv_bias + 2 * self.head_dim * self.qk_norm
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        return embeddings + self.num_layers * layer + self.hidden_size

    def projection(self, target: str) -> tuple[int, int] | None:
        """Return (inputs, outputs) of a projection by its name in a layer, or None for one that is not known."""
        if self.whole is not None:
            return None
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
    "Qwen/Qwen2-0.5B": Shape(24, 896, 14, 2, 64, 4864, 151936, 131072, qkv_bias=True),
    "Qwen/Qwen2-1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, 131072, qkv_bias=True),
    "Qwen/Qwen2-1.5B-Instruct": Shape(28, 1536, 12, 2, 128, 8960, 151936, 32768, qkv_bias=True),
    "Qwen/Qwen2.5-0.5B": Shape(24, 896, 14, 2, 64, 4864, 151936, 32768, qkv_bias=True),
    "Qwen/Qwen2.5-1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, 131072, qkv_bias=True),
    "Qwen/Qwen2.5-3B": Shape(36, 2048, 16, 2, 128, 11008, 151936, 32768, qkv_bias=True),
    "Qwen/Qwen2.5-7B": Shape(28, 3584, 28, 4, 128, 18944, 152064, 131072, tied=False, qkv_bias=True),
    "Qwen/Qwen2.5-Math-1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, 4096, qkv_bias=True),
    "Qwen/Qwen2.5-Math-7B": Shape(28, 3584, 28, 4, 128, 18944, 152064, 4096, tied=False, qkv_bias=True),
    "Qwen/Qwen3-0.6B": Shape(28, 1024, 16, 8, 128, 3072, 151936, 40960, qk_norm=True),
    "Qwen/Qwen3-1.7B": Shape(28, 2048, 16, 8, 128, 6144, 151936, 40960, qk_norm=True),
    "Qwen/Qwen3-4B": Shape(36, 2560, 32, 8, 128, 9728, 151936, 40960, qk_norm=True),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Shape(
        28, 1536, 12, 2, 128, 8960, 151936, 131072, tied=False, qkv_bias=True
    ),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": Shape(
        28, 3584, 28, 4, 128, 18944, 152064, 131072, tied=False, qkv_bias=True
    ),
    "meta-llama/Llama-3.2-1B": Shape(16, 2048, 32, 8, 64, 8192, 128256, 131072),
    "meta-llama/Llama-3.2-3B": Shape(28, 3072, 24, 8, 128, 8192, 128256, 131072),
}
"""Shapes of public models, from their config.json on the hub: for `--dry-run` offline, and for random weights."""


def public_name(name: str) -> str:
    """Return the hub name of a model with random weights: ``random:qwen2-1.5b`` is Qwen/Qwen2-1.5B's shape."""
    known = {RANDOM + public.rsplit("/", 1)[1].lower(): public for public in PUBLIC_SHAPES}
    if name not in known:
        raise ModelError(f"model '{name}' has no known shape.{did_you_mean(name, known)}")
    return known[name]


def shape_of(name: str, *, offline: bool = True) -> Shape | None:
    """Return the shape of a model without loading it; None where it cannot be known, offline unless told otherwise."""
    name = public_name(name) if name.startswith(RANDOM) else name
    if name in PUBLIC_SHAPES:
        return PUBLIC_SHAPES[name]
    where = locate(name)
    if not is_folder(where) and not _is_at_hand(where, offline=offline):
        return None
    config = load_config(name, offline=offline)
    with reading(name, where, "config.json"):
        reason = check_architecture(config)
        shape = _shape(config, reason)
    if min(shape.num_layers, shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.vocab_size) < 1:
        raise ModelError(f"model '{name}' could not be loaded (config.json: a size is below 1); get or save it again.")
    return shape


def _is_at_hand(name: str, *, offline: bool) -> bool:
    """Whether the configuration of a model on the hub can be had."""
    try:
        load_config(name, offline=offline)
    except ModelError:
        return False
    return True


def _shape(config: Any, reason: str | None) -> Shape:
    """Return what a configuration says. `reason`: why the model is run by its own forward pass, or None."""
    heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
    keys = getattr(config, "num_key_value_heads", None)
    return Shape(
        num_layers=int(config.num_hidden_layers),
        hidden_size=hidden,
        num_heads=heads,
        num_kv_heads=heads if keys is None else int(keys),
        head_dim=int(getattr(config, "head_dim", None) or hidden // heads),
        intermediate_size=int(getattr(config, "intermediate_size", None) or 4 * hidden),
        vocab_size=int(config.vocab_size),
        max_positions=longest_sequence(config),
        tied=bool(getattr(config, "tie_word_embeddings", True)),
        qkv_bias=config.model_type == "qwen2",
        qk_norm=config.model_type == "qwen3",
        whole=reason,
        counted=None if reason is None and config.model_type in FAMILY else num_parameters(config),
    )
