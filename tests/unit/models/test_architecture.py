"""Architectures that cannot be run layer by layer are refused alike, from the configuration and from the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from creditree.errors import ModelError
from creditree.models.architecture import check_architecture
from creditree.models.attention import ATTENTION, CausalPlan
from creditree.models.load import load_model
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
REFUSED = {
    "StableLmConfig": KEYWORDS,
    "NemotronConfig": KEYWORDS,
    "DiffLlamaConfig": "cannot be run",
    "OPTConfig": "is not laid out as embedding, layers, norm and head",
    "FalconConfig": "it attends by functions of its own",
    "JetMoeConfig": "cannot be run layer by layer",
    "MellumConfig": "cannot be run layer by layer",
    "GraniteConfig": "does more than embedding, layers, norm and head",
}


def configured(name: str) -> Any:
    more = {"embedding_multiplier": 3.0} if name == "GraniteConfig" else {}
    return getattr(transformers, name)(**SIZES, **more)


@pytest.mark.parametrize("name", REFUSED)
def test_the_same_sentence_with_and_without_weights(name: str, tmp_path: Path) -> None:
    config = configured(name)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    sentences = []
    for ask in (load_model, shape_of):
        with pytest.raises(ModelError, match=REFUSED[name]) as error:
            ask(str(tmp_path))
        sentences.append(str(error.value))
    assert sentences[0].endswith("use a Qwen2, Qwen3 or Llama.")
    assert sentences[0] == sentences[1]


@pytest.mark.parametrize("name", ["MistralConfig", "SmolLM3Config", "GemmaConfig", "Phi3Config", "MixtralConfig"])
def test_what_is_such_a_chain_is_taken(name: str) -> None:
    more = {"sliding_window": None} if name == "MistralConfig" else {}
    config = getattr(transformers, name)(**SIZES, pad_token_id=0, bos_token_id=0, eos_token_id=1, **more)
    check_architecture(config)


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
