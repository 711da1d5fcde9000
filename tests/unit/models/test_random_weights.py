"""Models with random weights have their shape, in the dtype asked for, and an end that cannot be sampled."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from creditree.errors import ModelError
from creditree.models.load import Model, load_model
from creditree.models.random_weights import byte_tokenizer, config_of, random_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape, shape_of
from creditree.models.transformer import Transformer

PLAIN = Shape(3, 32, 4, 2, 8, 48, 300, 128)
KINDS = {
    "llama": PLAIN,
    "qwen2": replace(PLAIN, qkv_bias=True),
    "qwen3": replace(PLAIN, qk_norm=True),
    "untied": replace(PLAIN, tied=False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_model_has_the_shapes_parameters_and_the_dtype(kind: str, dtype: torch.dtype) -> None:
    shape = KINDS[kind]
    model = random_model(shape, dtype)
    assert model.config.model_type == (kind if kind != "untied" else "llama")
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    assert sum(weight.numel() for weight in model.parameters()) == shape.num_parameters
    assert all(weight.device.type == "cpu" for weight in [*model.parameters(), *model.buffers()])


def test_the_forward_pass_is_that_of_a_model_that_transformers_made_itself() -> None:
    """Rotary frequencies and tied weights are right although the model began without storage."""
    shape = KINDS["qwen2"]
    model = random_model(shape, torch.float32)
    plain = AutoModelForCausalLM.from_config(config_of(shape)).eval()
    plain.load_state_dict(model.state_dict())
    ids = torch.arange(12)[None]
    assert torch.equal(model(ids).logits, plain(ids).logits)


def test_weights_are_normal_with_the_usual_scale() -> None:
    shape = replace(PLAIN, vocab_size=4000)
    model: Any = random_model(shape, torch.float32)
    again: Any = random_model(shape, torch.float32)
    weight = model.model.embed_tokens.weight
    # 128,000 numbers: the standard error of the standard deviation is 0.02 / sqrt(256,000) = 4e-5
    assert abs(float(weight.std()) - 0.02) < 2e-4
    assert torch.equal(weight, again.model.embed_tokens.weight)
    assert torch.equal(model.model.norm.weight, torch.ones(32))


def test_the_tokenizer_has_a_token_a_byte_and_an_end_past_the_vocabulary() -> None:
    model = Model("random", Transformer(random_model(PLAIN, torch.float32)), byte_tokenizer(PLAIN.vocab_size))
    assert model.eos_ids == (model.transformer.vocab_size,) == (300,)
    ids = model.tokenizer.encode("a line of text")
    assert len(ids) == len("a line of text")
    assert model.text(ids) == "a line of text"
    assert model.text([256, 299]) == " w256 w299"


# from the models' cards on the hub, or their safetensors index
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2-0.5B", 494_032_768),
        ("Qwen/Qwen2-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B", 3_212_749_824),
    ],
)
def test_public_shapes_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert PUBLIC_SHAPES[name].num_parameters == parameters


def test_names() -> None:
    assert shape_of("random:qwen2-1.5b") is PUBLIC_SHAPES["Qwen/Qwen2-1.5B"]
    with pytest.raises(ModelError, match=r"Did you mean 'random:qwen2-1\.5b'"):
        shape_of("random:qwen2-1.5")
    with pytest.raises(ModelError, match="has no known shape"):
        load_model("random:nothing-like-it")
