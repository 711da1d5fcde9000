"""Tiny random models of real architectures, and a character tokenizer for them, all made in memory."""

from copy import deepcopy
from functools import cache
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from creditree.models.architecture import attention_of
from creditree.models.attention import ATTENTION
from creditree.models.load import DIVIDED, Model
from creditree.models.transformer import Transformer
from creditree.models.whole import WholeModel

ALPHABET = "0123456789*+-=() abcdefghijklmnopqrstuvwxyz?.,\n"
FAMILIES = ("qwen2", "qwen3", "llama")
"""Where a test takes all of them; Mistral's layers are Llama's, so it is only where layers themselves are tested."""
_SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}


_WINDOW = 6
"""Tokens that sliding layers attend to: fewer than any test's sequence has."""
_GEMMA: dict[str, Any] = {"head_dim": 8, "sliding_window": _WINDOW, "query_pre_attn_scalar": 8, "bos_token_id": None}
OTHERS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": _WINDOW},
    "phi3": {"sliding_window": _WINDOW, "tie_word_embeddings": False},
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16, "init_std": 0.3, "enable_bias": True},
    "smollm3": {"no_rope_layers": [1, 0, 1, 0], "sliding_window": _WINDOW, "use_sliding_window": True},
    "qwen3_moe": {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "gemma2": _GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma3_text": _GEMMA | {"layer_types": ["sliding_attention", "full_attention"] * 2},
}
"""Types that are run by their own forward pass, with what makes them so."""


def other_model(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Return a random 4-layer model of one of the other types, in evaluation mode, with its own attention."""
    own = CONFIG_MAPPING[kind]
    mapped = getattr(own, "attribute_map", {})
    config: Any = own(**{mapped.get(key, key): value for key, value in (_SHAPE | OTHERS[kind] | changes).items()})
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention_of(config)).to(dtype).eval()
    if dtype == torch.float64 and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # grouped products have no float64
    model.requires_grad_(False)
    return model  # type: ignore[no-any-return]


def other(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0, **changes: Any) -> Model:
    """Return a wrapped random model of one of the other types with its tokenizer."""
    return Model(f"random:{kind}", WholeModel(other_model(kind, dtype, seed, **changes), "it is so"), char_tokenizer())


def char_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a character of ALPHABET."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {c: i + 3 for i, c in enumerate(ALPHABET)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def random_model(family: str = "qwen2", dtype: torch.dtype = torch.float64, seed: int = 0) -> PreTrainedModel:
    """Return a random 4-layer model of the family, in evaluation mode."""
    torch.manual_seed(seed)
    configs: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "tie_word_embeddings": False}),
        "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
        "mistral": (MistralConfig, MistralForCausalLM, {"tie_word_embeddings": False, "sliding_window": None}),
    }
    config_class, model_class, extra = configs[family]
    config = config_class(**_SHAPE, **extra)
    config._attn_implementation = ATTENTION
    model: PreTrainedModel = model_class(config).to(dtype).eval()
    if dtype == torch.float64:
        _norms_in_float64(model)
    model.requires_grad_(False)
    return model


def _norms_in_float64(model: torch.nn.Module) -> None:
    """Replace the RMS norms, which transformers computes in float32 whatever the weights are, by torch's own."""
    for module in list(model.modules()):
        children: list[tuple[str, Any]] = list(module.named_children())
        for name, child in children:
            if type(child).__name__.endswith("RMSNorm"):
                norm = torch.nn.RMSNorm(child.weight.shape[0], eps=child.variance_epsilon, dtype=torch.float64)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)


def tiny(family: str = "qwen2", dtype: torch.dtype = torch.float64, seed: int = 0) -> Model:
    """Return a wrapped random model with its tokenizer: a copy of one that is made once, which is sooner there."""
    checked, drawn = _checked(family, dtype, seed)
    network = deepcopy(checked)
    network.link()  # to its own weights
    torch.set_rng_state(drawn)  # as where it is made
    return Model(f"random:{family}", network, char_tokenizer())


@cache
def _checked(family: str, dtype: torch.dtype, seed: int) -> tuple[Transformer, torch.Tensor]:
    """Return a wrapped random model, and the state of torch's generator after it was drawn."""
    return Transformer(random_model(family, dtype, seed)), torch.get_rng_state()


def tiny_whole(family: str = "qwen2") -> Model:
    """Return the same, run by its own forward pass, as a model is that is divided among workers."""
    model = random_model(family)
    model.set_attn_implementation("sdpa")
    return Model(f"random:{family}", WholeModel(model, DIVIDED), char_tokenizer())
