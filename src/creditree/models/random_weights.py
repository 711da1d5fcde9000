"""Models with random weights, for measuring time and memory: any public shape, nothing downloaded.

`random:qwen2-1.5b` has the layers, sizes and biases of Qwen/Qwen2-1.5B. Its end-of-sequence token is one id past the
model's vocabulary, so the model cannot sample it: every completion has exactly the length that was asked for.
"""

from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
)

from creditree.models.shapes import Shape

END = "<|end|>"
SCALE = 0.02
"""Standard deviation of the weights: what transformers initialises Qwen2, Qwen3 and Llama with."""


def config_of(shape: Shape) -> PretrainedConfig:
    """Return the transformers configuration of a shape: Qwen3 where it has q-k norms, Qwen2 with biases, else Llama."""
    kind: Any = Qwen3Config if shape.qk_norm else Qwen2Config if shape.qkv_bias else LlamaConfig
    config: PretrainedConfig = kind(
        num_hidden_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate_size,
        vocab_size=shape.vocab_size,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return config


@torch.no_grad()
def random_model(shape: Shape, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> PreTrainedModel:
    """Return a model with weights drawn in `dtype` itself: no float32 copy of it ever exists.

    Weights are normal with standard deviation 0.02, norms are one.
    """
    config = config_of(shape)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    generator = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, parameter in model.named_parameters():  # a tied head is named once, as the embedding
        weight = torch.empty(parameter.shape, dtype=dtype, device=device)
        weights[name] = weight.fill_(1.0) if "norm" in name else weight.normal_(0.0, SCALE, generator=generator)
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    decoder: Any = model.model
    decoder.rotary_emb = type(decoder.rotary_emb)(config).to(device)  # its frequencies were made on "meta" too
    model.requires_grad_(False)
    model.eval()
    return model


def byte_tokenizer(vocab_size: int) -> PreTrainedTokenizerBase:
    """Return a tokenizer with one token a byte, whose other tokens no text has but every id has a text.

    In the form that transformers expects of a Qwen2 model: another kind is silently replaced when `AutoTokenizer` reads
    the directory. `END` is id `vocab_size`, one past what the model can sample.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"\u0120w{index}" for index in range(len(alphabet), vocab_size)), END]
    return Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        unk_token=None,  # type: ignore[arg-type]  # the default would add a token
        eos_token=END,
        pad_token=tokens[0],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
