"""Loading a base model: built-in, directory or hub name; whatever cannot be used is refused in one sentence."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from creditree.errors import ModelError
from creditree.models.attention import ATTENTION
from creditree.models.directory import builtin_models, locate
from creditree.models.load import load_model, load_texts
from tests.tiny_models import FAMILIES, char_tokenizer, random_model

IDS = (torch.arange(11)[None] * 7) % 60 + 2


def saved(path: Path, family: str = "qwen2") -> Path:
    """Write a whole model directory."""
    random_model(family, torch.float32).save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


def refusal(name: str | Path) -> str:
    """Return the sentence that refuses a model."""
    with pytest.raises(ModelError) as error:
        load_model(str(name))
    sentence = str(error.value)
    assert "\n" not in sentence
    assert str(name) in sentence
    return sentence


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_that_save_pretrained_wrote(family: str, tmp_path: Path) -> None:
    model = load_model(str(saved(tmp_path, family)))
    assert model.name == str(tmp_path)
    assert model.eos_ids == (1,)
    assert model.transformer.dtype == torch.float32
    inner = model.transformer.model
    assert inner.config._attn_implementation == ATTENTION
    assert not inner.training
    assert not any(parameter.requires_grad for parameter in inner.parameters())
    with torch.no_grad():
        expected = random_model(family, torch.float32)(IDS, use_cache=False).logits
        assert torch.equal(inner(IDS, use_cache=False).logits, expected)


def test_text_leaves_special_tokens_out() -> None:
    model = load_model("builtin:multiplication")
    ids = model.tokenizer.encode("12*3=\n", add_special_tokens=False)
    assert model.text([*ids, *model.eos_ids]) == "12*3=\n"


def test_bfloat16_and_float64(tmp_path: Path) -> None:
    saved(tmp_path)
    for dtype, kind in (("bfloat16", torch.bfloat16), ("float64", torch.float64)):
        transformer = load_model(str(tmp_path), dtype).transformer  # type: ignore[arg-type]
        assert transformer.dtype == kind
        assert {parameter.dtype for parameter in transformer.model.parameters()} == {kind}
        with torch.no_grad():
            assert torch.isfinite(transformer.model(IDS, use_cache=False).logits).all()


def test_every_built_in_model_loads_and_is_small() -> None:
    assert builtin_models() == ["builtin:long_multiplication", "builtin:multiplication", "builtin:word_problems"]
    for name in builtin_models():
        model = load_model(name)
        assert model.name == name
        assert 400_000 < sum(parameter.numel() for parameter in model.transformer.model.parameters()) < 1_000_000
        assert (Path(locate(name)) / "model.safetensors").stat().st_size < 3_000_000


def test_weights_in_several_files(tmp_path: Path) -> None:
    random_model("llama", torch.float32).save_pretrained(tmp_path, max_shard_size="20KB")
    char_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load_model(str(tmp_path)).transformer.num_layers == 4


def test_unknown_built_in_names_get_the_nearest_one() -> None:
    assert refusal("builtin:multiplicaton").endswith("Did you mean 'builtin:multiplication'?")
    assert f"Known: {', '.join(builtin_models())}." in refusal("builtin:")


@pytest.mark.parametrize("name", ["./nowhere", "../nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_a_directory_that_is_not_there(name: str) -> None:
    sentence = refusal(name)
    assert sentence.startswith(
        f"model directory '{name}' does not exist; give a directory, a hub name or one of builtin:"
    )


@pytest.mark.parametrize("name", ["nobody-here/no-such-model", "no-such-model", "two words"])
def test_a_hub_name_that_cannot_be_had(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sentence = refusal(name)
    assert sentence.startswith(f"model '{name}' could not be loaded (")
    assert "://" not in sentence
    assert sentence.endswith(f"; give a directory, a hub name or one of {', '.join(builtin_models())}.")


def test_a_directory_without_configuration(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "has no config.json; give the directory that save_pretrained wrote" in refusal(tmp_path)


class Bomb:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_a_pickle_is_refused_unread(file: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    (model / "model.safetensors").unlink()
    (model / file).write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    sentence = refusal(model)
    assert "holds its weights as a pickle, which can run code when it is read" in sentence
    assert "save them as safetensors" in sentence
    assert not (tmp_path / "trace").exists()
    pickle.loads((model / file).read_bytes())
    assert (tmp_path / "trace").exists()


def test_a_pickle_beside_safetensors_is_not_read(tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    assert load_model(str(model)).transformer.num_layers == 4
    assert not (tmp_path / "trace").exists()


def test_code_in_a_model_directory_is_not_run(tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "own.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nclass Own: pass\n")
    assert "could not be loaded" in refusal(model)
    assert not (tmp_path / "trace").exists()


def test_a_directory_without_weights(tmp_path: Path) -> None:
    (saved(tmp_path) / "model.safetensors").unlink()
    assert "holds no weights; it needs a *.safetensors file" in refusal(tmp_path)


def test_a_directory_without_tokenizer(tmp_path: Path) -> None:
    """Transformers would make an empty one without a word."""
    random_model(dtype=torch.float32).save_pretrained(tmp_path)
    assert "has no tokenizer; save the model's tokenizer there too" in refusal(tmp_path)


def test_a_tokenizer_without_an_end_token(tmp_path: Path) -> None:
    """Refused, unless the model's own configuration names an end."""
    tokenizer: Any = char_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    model: Any = random_model(dtype=torch.float32)
    model.save_pretrained(tmp_path)
    assert load_model(str(tmp_path)).eos_ids == (1,)
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    model.save_pretrained(tmp_path)
    assert "has no end-of-sequence token, so completions could not end; set eos_token" in refusal(tmp_path)


def test_texts_are_read_without_the_weights(tmp_path: Path) -> None:
    """A list in generation_config.json, and a sampling setting there, are what the loaded model says too."""
    saved(tmp_path)
    said = {"eos_token_id": [1, 7], "repetition_penalty": 1.2, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    texts = load_model(str(tmp_path)).texts
    assert texts.ends.ids == (1, 7)
    assert texts.not_applied == {"repetition_penalty": 1.2, "do_sample": True}
    assert load_texts(str(tmp_path), offline=True).to_json() == texts.to_json()


@pytest.mark.parametrize("length", [0, 5, 4000])
def test_weights_that_are_cut_off(length: int, tmp_path: Path) -> None:
    weights = saved(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    assert "could not be loaded (" in refusal(tmp_path)


def test_weights_that_are_incomplete_are_not_made_up(tmp_path: Path) -> None:
    weights = saved(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "are incomplete (model.layers.2.mlp.up_proj.weight is missing)" in refusal(tmp_path)


@pytest.mark.parametrize(
    "change", [{"hidden_size": 64}, {"model_type": "foobar"}, {"model_type": None}], ids=["shape", "unknown", "none"]
)
def test_a_configuration_of_another_model(change: dict[str, object], tmp_path: Path) -> None:
    config = saved(tmp_path) / "config.json"
    config.write_text(json.dumps({k: v for k, v in (json.loads(config.read_text()) | change).items() if v is not None}))
    assert "could not be loaded (" in refusal(tmp_path)


def test_a_configuration_that_is_no_json(tmp_path: Path) -> None:
    (saved(tmp_path) / "config.json").write_text("{")
    assert "not a valid JSON file" in refusal(tmp_path)


def test_another_architecture_is_run_by_its_own_forward_pass(tmp_path: Path) -> None:
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    whole = load_model(str(tmp_path)).whole
    assert whole is not None
    assert whole.reason == "GPT2LMHeadModel is not laid out as embedding, layers, norm and head"
