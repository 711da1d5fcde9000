"""The shape of a model before it is loaded agrees with the loaded one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from creditree.errors import ModelError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape, shape_of
from creditree.rng import Key
from tests.tiny_models import FAMILIES, char_tokenizer, other_model, random_model

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def saved(path: Path, family: str = "qwen2") -> Path:
    random_model(family, torch.float32).save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_of_directories(family: str, tmp_path: Path) -> None:
    head_dim = 16 if family == "qwen3" else 8
    assert shape_of(str(saved(tmp_path, family))) == Shape(
        4,
        32,
        4,
        2,
        head_dim,
        48,
        64,
        128,
        tied=family == "qwen2",
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_number_of_parameters_is_the_loaded_models(family: str, tmp_path: Path) -> None:
    shape = shape_of(str(saved(tmp_path, family)))
    assert shape is not None
    assert shape.num_parameters == load_model(str(tmp_path)).transformer.model.num_parameters()


@pytest.mark.parametrize("name", ["builtin:long_multiplication", "builtin:multiplication", "builtin:word_problems"])
def test_shapes_of_built_in_models(name: str) -> None:
    shape, transformer = shape_of(name), load_model(name).transformer
    assert shape is not None
    assert shape.num_layers == transformer.num_layers
    assert shape.hidden_size == transformer.hidden_size
    assert shape.vocab_size == transformer.vocab_size
    assert shape.max_positions == transformer.max_positions
    assert 2 * shape.head_dim * shape.num_kv_heads == transformer.kv_width


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), TARGETS], ids=len)
def test_the_adapters_size_is_known_before_it_is_made(family: str, targets: tuple[str, ...], tmp_path: Path) -> None:
    shape = shape_of(str(saved(tmp_path, family)))
    assert shape is not None
    spec = LoraSpec(rank=3, layers=0.5, targets=targets)
    adapter = Adapter(load_model(str(tmp_path)), spec, Key.of(0))
    assert shape.lora_parameters(3, 2, targets) == adapter.num_parameters


def test_the_papers_model() -> None:
    """28 layers, hidden 1536, 12 heads of 128, 2 key heads: q 1536 -> 1536, v 1536 -> 256 (arXiv 2504.20834)."""
    for name in ("Qwen/Qwen2-1.5B", "Qwen/Qwen2-1.5B-Instruct"):
        shape = shape_of(name)
        assert shape is PUBLIC_SHAPES[name]
        assert shape.projection("q_proj") == (1536, 1536)
        assert shape.projection("v_proj") == (1536, 256)
        # rank * (inputs + outputs): 9 layers of 16 * (3072 + 1792), 7 layers of 8 * (3072 + 1792)
        assert shape.lora_parameters(16, 9, ("q_proj", "v_proj")) == 700_416
        assert shape.lora_parameters(8, 7, ("q_proj", "v_proj")) == 272_384


def test_an_unknown_projection_has_no_size() -> None:
    shape = PUBLIC_SHAPES["Qwen/Qwen2-1.5B"]
    assert shape.projection("c_attn") is None
    assert shape.lora_parameters(8, 7, ("q_proj", "c_attn")) is None


def test_what_cannot_be_known_is_none() -> None:
    assert shape_of("nobody-here/no-such-model") is None


def test_a_model_that_is_run_by_its_own_forward_pass_is_counted(tmp_path: Path) -> None:
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape is not None
    assert shape.whole == "GPT2LMHeadModel is not laid out as embedding, layers, norm and head"
    # embeddings (64 + 32) * 16; three norms of 32; attention 16 * 48 + 48 + 16 * 16 + 16; MLP 2 * 16 * 64 + 80
    assert shape.num_parameters == 96 * 16 + 96 + 1088 + 2128
    assert (shape.num_layers, shape.num_heads, shape.max_positions) == (1, 2, 32)
    assert shape.lora_parameters(8, 1, ("q_proj", "v_proj")) is None


def test_layers_beyond_the_family_are_counted_where_they_are_run_one_by_one_too(tmp_path: Path) -> None:
    """Qwen3-MoE: each of 4 layers has 4 experts of 3 * 32 * 16 numbers and a gate of 4 * 32, in place of one MLP."""
    other_model("qwen3_moe", torch.float32).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape is not None
    assert shape.whole is None
    as_llama = replace(shape, counted=None, qk_norm=True).num_parameters
    assert shape.num_parameters == as_llama + 4 * (4 * 3 * 32 * 16 + 4 * 32 - 3 * 32 * 48)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Did you mean 'builtin:multiplication'"):
        shape_of("builtin:multiplicaton")
    model = saved(tmp_path)
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds its weights as a pickle"):
        shape_of(str(model))
