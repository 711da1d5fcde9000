"""Adapters that plain PEFT wrote, as other trainers do: the same logits, or the reason why not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from creditree.errors import ModelError
from creditree.models.adapter import Adapter, LoraSpec, saved_spec
from creditree.models.trained import load_trained
from creditree.rng import Key
from tests.tiny_models import random_model, tiny

IDS = (torch.arange(22).reshape(2, 11) * 7) % 60 + 2
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
QV = ["q_proj", "v_proj"]


def made(path: Path, config: Any) -> Tensor:
    """Let PEFT make, stir and save an adapter; return the logits with it."""
    torch.manual_seed(0)
    model: Any = get_peft_model(random_model("llama"), config, autocast_adapter_dtype=False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(str(path), save_embedding_layers=False)
        found: Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return found


READ: dict[str, dict[str, Any]] = {
    "all layers": {"target_modules": QV},
    "one layer": {"target_modules": ["q_proj"], "layers_to_transform": 3},
    "some layers": {"target_modules": [*QV, "down_proj"], "layers_to_transform": [0, 2]},
    "all-linear": {"target_modules": "all-linear", "lora_dropout": 0.1},
    "expression": {"target_modules": r".*layers\.[13]\..*\.(q|o)_proj"},
    "rsLoRA": {"target_modules": QV, "use_rslora": True, "r": 5},
    "ranks": {"target_modules": QV, "rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 5}},
    "alphas": {"target_modules": QV, "alpha_pattern": {"v_proj": 1}},
    "uneven": {"target_modules": r"model\.layers\.(0\.self_attn\.q_proj|2\.mlp\.up_proj)"},
    "excluded": {"target_modules": QV, "exclude_modules": r".*layers\.0\..*"},
    "gaussian": {"target_modules": QV, "init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("name", READ)
def test_what_peft_wrote_gives_what_peft_gives(name: str, tmp_path: Path) -> None:
    """To the rounding of matrices that are held in float32."""
    settings: dict[str, Any] = {"r": 3, "lora_alpha": 4, "task_type": "CAUSAL_LM"} | READ[name]
    expected = made(tmp_path, LoraConfig(**settings))
    model = tiny("llama")
    with torch.no_grad():
        base = model.transformer.model(IDS, use_cache=False).logits
        trained = load_trained(model, tmp_path)
        found = model.transformer.model(IDS, use_cache=False).logits
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)
        assert (found - base).abs().max() > 0.01
        with trained.off():
            assert torch.equal(model.transformer.model(IDS, use_cache=False).logits, base)


def test_ordinary_settings_are_found_as_they_were_written(tmp_path: Path) -> None:
    made(tmp_path, LoraConfig(r=3, lora_alpha=7, lora_dropout=0.25, target_modules=QV))
    expected = LoraSpec(rank=3, alpha=7, dropout=0.25, layers=(0, 1, 2, 3), targets=tuple(QV))
    assert saved_spec(tmp_path)[1] == expected
    assert expected.scaling == 7 / 3


REFUSED: dict[str, tuple[Any, str]] = {
    "DoRA": (LoraConfig(r=2, target_modules=QV, use_dora=True), "use_dora"),
    "bias": (LoraConfig(r=2, target_modules=QV, bias="lora_only"), "bias: 'lora_only'"),
    "whole modules": (LoraConfig(r=2, target_modules=QV, modules_to_save=["lm_head"]), "modules_to_save"),
    "single tokens": (LoraConfig(r=2, target_modules=QV, trainable_token_indices=[3]), "trainable_token_indices"),
    "the embedding": (LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"]), "embed_tokens"),
    "the head": (LoraConfig(r=2, target_modules=["q_proj", "lm_head"]), "lm_head"),
    "another kind": (IA3Config(target_modules=QV, feedforward_modules=[]), "is no LoRA, but 'IA3'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_more_than_lora_on_projections_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    config, words = REFUSED[name]
    made(tmp_path, config)
    with pytest.raises(ModelError) as error:
        saved_spec(tmp_path)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "not a valid JSON file"),
        ("[]", "holds a list"),
        ('{"a":' * 50_000, "nested too deeply"),
        ({"peft_type": "NEW"}, "is no LoRA, but 'NEW'"),
        ({"peft_type": 7}, "is no LoRA, but 7"),
        ({"r": -2}, "-2 is no rank"),
        ({"r": 10**9}, "says rank 1000000000"),
        ({"r": "four"}, "cannot be used"),
        ({"lora_alpha": "much"}, "cannot be used"),
        ({"lora_alpha": 1e400}, "cannot be used"),
        ({"lora_dropout": 3}, "3 is no rank, alpha or dropout"),
        ({"rank_pattern": 5}, "cannot be used"),
        ({"base_model_name_or_path": 5}, "no text"),
        ({"init_lora_weights": "pissa"}, "changes the base weights"),
        ({"use_novelty": True}, "use_novelty: True"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_or_foreign_configuration(change: Any, words: str, tmp_path: Path) -> None:
    Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0)).save(tmp_path)
    config = tmp_path / CONFIG
    config.write_text(change if isinstance(change, str) else json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ModelError) as error:
        saved_spec(tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_directory_in_the_place_of_a_file(tmp_path: Path) -> None:
    for file in (CONFIG, WEIGHTS):
        saved = tmp_path / file.partition(".")[0]
        Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0)).save(saved)
        (saved / file).unlink()
        (saved / file).mkdir()
        with pytest.raises(ModelError, match="Is a directory"):
            saved_spec(saved)


def changed(path: Path, rename: str | None = None, number: float | None = None) -> None:
    """Rename the matrices of a saved adapter, or change a number in one."""
    tensors = load_file(path / WEIGHTS)
    if rename is not None:
        tensors = {name.replace("base_model.model.", rename): tensor for name, tensor in tensors.items()}
    if number is not None:
        tensors[sorted(tensors)[2]][0, 1] = number
    save_file(tensors, path / WEIGHTS)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_matrix_that_is_no_number_is_named(number: float, tmp_path: Path) -> None:
    Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0)).save(tmp_path)
    changed(tmp_path, number=number)
    with pytest.raises(ModelError, match=r"hold NaN or infinite numbers \(base_model.model.model.layers.2.*lora_A"):
        load_trained(tiny(), tmp_path)


def test_matrices_under_other_names_are_refused(tmp_path: Path) -> None:
    Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0)).save(tmp_path)
    changed(tmp_path, rename="")
    with pytest.raises(ModelError, match="which is no LoRA matrix of a layer's projection"):
        saved_spec(tmp_path)


def test_an_adapter_of_another_model(tmp_path: Path) -> None:
    Adapter(tiny("qwen3"), LoraSpec(rank=3, layers=(1, 3)), Key.of(0)).save(tmp_path)
    with pytest.raises(ModelError, match="belongs to another model, or has another rank"):
        load_trained(tiny("llama"), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({name.replace("layers.3", "layers.30"): tensor for name, tensor in tensors.items()}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"does not fit model 'random:qwen3': .*layer 30"):
        load_trained(tiny("qwen3"), tmp_path)
