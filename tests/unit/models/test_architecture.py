"""Which way an architecture is run, or why it cannot be: alike from the configuration and from the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from creditree.errors import ModelError
from creditree.models.architecture import check_architecture
from creditree.models.attention import ATTENTION, CausalPlan
from creditree.models.load import load_model, load_texts
from creditree.models.shapes import shape_of
from creditree.models.transformer import Transformer
from tests.tiny_models import char_tokenizer, random_model

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
}
KEYWORDS = "does not pass its layer's keywords on to the attention function"
BY_ITSELF = {
    "StableLmConfig": KEYWORDS,
    "NemotronConfig": KEYWORDS,
    "OPTConfig": "is not laid out as embedding, layers, norm and head",
    "FalconConfig": "it attends by functions of its own",
    "GraniteConfig": "does more than embedding, layers, norm and head",
    "MistralConfig": "a model of type mistral attends to the last 8 tokens only",
    "Gemma3TextConfig": "has layers of type sliding_attention, and not of full attention alone",
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "T5Config": ({}, "is an encoder with a decoder; use a model of a decoder alone."),
    "BertConfig": ({}, "predicts other tokens on rows with a cache than on each sequence alone"),
    "ViTConfig": ({}, "predicts no next token in transformers; use a causal language model."),
    "Gemma3Config": ({}, "takes more than text; use the text model that it was made from."),
    "MambaConfig": ({}, "keeps a state besides keys and values"),
    "Qwen3NextConfig": ({"head_dim": 8}, "keeps a state besides keys and values"),
}


def configured(name: str) -> Any:
    more: dict[str, Any] = {"GraniteConfig": {"embedding_multiplier": 3.0}, "MistralConfig": {"sliding_window": 8}}
    return getattr(transformers, name)(**SIZES, **more.get(name, {}), pad_token_id=0, bos_token_id=0, eos_token_id=1)


@pytest.mark.parametrize("name", BY_ITSELF)
def test_what_has_no_such_layers_is_run_by_its_own_forward_pass_and_says_so(name: str, tmp_path: Path) -> None:
    """The same sentence with and without weights."""
    config = configured(name)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    assert model.whole is not None
    assert BY_ITSELF[name] in model.whole.reason
    note = f"model '{tmp_path}' is run by its own forward pass, which is slower than layer by layer: "
    assert model.texts.notes[-1] == note + model.whole.reason
    assert load_texts(str(tmp_path), offline=True).notes == model.texts.notes
    with pytest.raises(ModelError, match="what was asked for needs its layers, so use a Qwen2, Qwen3 or Llama"):
        _ = model.transformer


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_run_neither_way_is_refused_from_its_configuration(name: str, tmp_path: Path) -> None:
    more, words = REFUSED[name]
    config = getattr(transformers, name)() if name in ("Gemma3Config", "ViTConfig") else None
    config = config or getattr(transformers, name)(**({} if name == "T5Config" else SIZES | more))
    config.save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()  # never looked at
    for ask in (load_model, shape_of):
        with pytest.raises(ModelError) as error:
            ask(str(tmp_path))
        assert words in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["MistralConfig", "SmolLM3Config", "GemmaConfig", "Phi3Config", "MixtralConfig"])
def test_what_is_such_a_chain_is_taken(name: str) -> None:
    more = {"sliding_window": None} if name == "MistralConfig" else {}
    config = getattr(transformers, name)(**SIZES, pad_token_id=0, bos_token_id=0, eos_token_id=1, **more)
    assert check_architecture(config) is None


def test_a_prefix_that_turns_its_angles_anew_ends_the_context() -> None:
    rope = {"rope_type": "longrope", "original_max_position_embeddings": 64, "rope_theta": 1e4, "factor": 2.0}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    config = transformers.LlamaConfig(**SIZES, rope_parameters=rope)
    assert Transformer(AutoModelForCausalLM.from_config(config)).max_positions == 64


def test_attention_without_a_plan_is_an_error_only_in_a_run_layer_by_layer() -> None:
    """A layer that forgets its keywords after it was wrapped: nothing attends as it likes."""
    transformer = Transformer(random_model("llama", torch.float32))
    layer = transformer.decoder_layers[1]
    forward = layer.self_attn.forward
    layer.self_attn.forward = lambda *inputs, plan=None, **keywords: forward(*inputs, **keywords)
    transformer._lean[1] = None
    ids = torch.arange(5)[None] + 3
    with torch.no_grad():
        transformer.model(ids, use_cache=False)
        hidden = transformer.embed(ids)
        with pytest.raises(ModelError, match=KEYWORDS):
            transformer.layers(hidden, transformer.rope(hidden, torch.arange(5)[None]), CausalPlan())
        transformer.model(ids, use_cache=False)


class Forgetful(transformers.LlamaForCausalLM):
    """A model whose layers attend by themselves: causally, to the tokens of this pass."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        layers: Any = self.model.layers
        for layer in layers:
            layer.self_attn.forward = _own(layer.self_attn.forward)


def _own(forward: Any) -> Any:
    def attend(*inputs: Any, plan: Any = None, **keywords: Any) -> Any:
        return forward(*inputs, plan=None if plan is None else CausalPlan(), **keywords)

    return attend


def test_layers_that_put_another_plan_in_its_place_are_found_by_two_passes() -> None:
    """Over one causal pass they are right: only a store and branches tell them apart."""
    plain = random_model("llama", torch.float32)
    plain.config._attn_implementation = ATTENTION
    model: Any = Forgetful(plain.config)
    model.load_state_dict(plain.state_dict())
    model.eval()
    with pytest.raises(ModelError, match="Forgetful does more than"):
        Transformer(model)
    Transformer(plain)
