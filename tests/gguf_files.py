"""A tiny GGUF file of the Qwen2 family, written with the format's own package."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.tiny_models import random_model

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path) -> Any:
    """Write a random Qwen2 with a byte-level tokenizer; return the model whose weights it has, rounded as Q8_0 does."""
    import gguf

    model: Any = random_model("qwen2", torch.float32)
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _add_tokenizer(writer, config.vocab_size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _add_tensor(writer, _gguf_name(name), parameter)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _add_tokenizer(writer: Any, size: int) -> None:
    # Byte-level tokens: "Ġ" is a space, and one merge, so that the tokenizer has something to do.
    # named as Qwen2's: transformers adds that token where a vocabulary lacks it, beyond the embedding
    tokens = ["<|endoftext|>", "<eos>", *"0123456789+=", "Ġ", "+="]
    tokens += [f"<unused{index}>" for index in range(size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (size - 2))
    writer.add_token_merges(["+ ="])
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}={% endfor %}")


def _gguf_name(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{NAMES[module]}.{kind}"


def _add_tensor(writer: Any, name: str, parameter: torch.Tensor) -> None:
    """Add a matrix in Q8_0 where its rows are whole blocks of 32, and leave the rounded weights in the model."""
    import gguf

    values = np.asarray(parameter.numpy())
    if values.ndim < 2 or values.shape[-1] % 32:
        writer.add_tensor(name, values)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    blocks = gguf.quants.quantize(values, kind)
    writer.add_tensor(name, blocks, raw_dtype=kind)
    parameter.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, kind)))
