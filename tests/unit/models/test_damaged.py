"""Model directories that cannot be read, whatever the libraries raise: one sentence that names the file at fault."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from creditree.errors import ModelError
from creditree.models.load import load_model
from creditree.models.reading import one_sentence, reason_of
from creditree.models.texts import Texts
from tests.tiny_models import char_tokenizer, random_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0d2f\nsize 4711\n"
DEEP = '{"a":' * 50_000
TEXTS = {
    "config.json": ["[]", "7", "{", "", DEEP, POINTER],
    "generation_config.json": ['["x"]', "null", "{]", DEEP, POINTER],
    "tokenizer_config.json": ["[1, 2]", "true", '{"a"', DEEP, POINTER],
    "tokenizer.json": ["{}", "[]", "3", "{", DEEP, POINTER, '{"added_tokens": [], "model": {"type": "Sorcery"}}'],
    "model.safetensors.index.json": ["{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "gone.safetensors"}}'],
    "model.safetensors": [POINTER, "", "nonsense" * 9],
}
CONFIGS: list[dict[str, Any]] = [
    {"hidden_size": "wide"},
    {"hidden_size": 0},
    {"hidden_size": 2.5},
    {"hidden_size": 48},
    {"num_hidden_layers": 9},
    {"num_hidden_layers": -2},
    {"num_attention_heads": 0},
    {"num_key_value_heads": 0},
    {"vocab_size": 0},
    {"vocab_size": -7},
    {"rms_norm_eps": "tiny"},
    {"hidden_act": "wiggle"},
    {"hidden_act": None},
    {"rope_parameters": {"rope_type": "yarn"}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": "far"}},
    {"layer_types": ["full_attention"]},
    {"layer_types": "full"},
    {"dtype": "float7"},
    {"tie_word_embeddings": "yes"},
    {"quantization_config": {}},
    {"quantization_config": "much"},
    {"eos_token_id": "end"},
    {"pad_token_id": 10**8},
    {"model_type": "unheard-of"},
    {"model_type": None},
    {"max_position_embeddings": 0},
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model directory, not to be written to."""
    path = tmp_path_factory.mktemp("sound") / "model"
    random_model("qwen2", torch.float32).save_pretrained(path)
    char_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


def refusal(path: Path, dtype: Any = "float32") -> str:
    """Return the one sentence that refuses a model."""
    with pytest.raises(ModelError) as error:
        load_model(str(path), dtype)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert len(sentence) < 700
    return sentence


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "num_hidden_layers",
            10**18,
            "num_hidden_layers is 1000000000000000000, and no model has more than 10,000 there",
        ),
        ("num_hidden_layers", -(10**18), "num_hidden_layers is -1000000000000000000, and no model has more"),
        ("num_hidden_layers", -1, "num_hidden_layers is -1, and no model has fewer than none"),
        ("layer_types", [10**30], " is 1000000000000000000000000000000, and no model"),
        ("rope_parameters", {"a": [{"hidden_size": 10**15}]}, "hidden_size is 1000000000000000, and no model"),
    ],
)
def test_sizes_that_no_model_has_are_found_before_anything_is_made(
    key: str, value: object, words: str, model: Path
) -> None:
    config = json.loads((model / "config.json").read_text()) | {key: value}
    (model / "config.json").write_text(json.dumps(config))
    assert words in refusal(model)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/dev/zero", "x/../../model.safetensors"])
def test_an_index_names_no_file_elsewhere(shard: str, model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "model.safetensors")
    (model / "x.safetensors").symlink_to("../model.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    assert f"(model.safetensors.index.json: it names '{shard}', which lies elsewhere)" in refusal(model)


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, texts in TEXTS.items() for text in texts])
def test_a_damaged_file_is_named(file: str, text: str, model: Path) -> None:
    if file.endswith(".index.json"):
        (model / "model.safetensors").rename(model / "shard.safetensors")
    (model / file).write_text(text)
    sentence = refusal(model)
    assert sentence.startswith(f"model '{model}' could not be loaded ({file}: ")
    assert ("git-lfs pointer" in sentence) == (text == POINTER)
    assert ("nested too deeply" in sentence) == (text == DEEP)


@pytest.mark.parametrize("file", ["generation_config.json", "tokenizer_config.json", "model.safetensors"])
def test_a_directory_in_the_place_of_a_file(file: str, model: Path) -> None:
    (model / file).unlink(missing_ok=True)
    (model / file).mkdir()
    assert f"({file}: Is a directory)" in refusal(model)


@pytest.mark.parametrize("change", CONFIGS, ids=str)
def test_a_configuration_that_makes_no_sense(change: dict[str, Any], model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | change))
    assert "config.json" in refusal(model)


def changed(model: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights of a directory."""
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_weight_that_is_no_number_is_named(bad: float, dtype: str, model: Path) -> None:
    name = "model.layers.2.mlp.up_proj.weight"
    changed(model, lambda tensors: tensors[name][3].fill_(bad))
    assert refusal(model, dtype) == (
        f"the weights of model '{model}' hold NaN or infinite numbers ({name}); get or save them again."
    )


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(model: Path) -> None:
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    assert f"'model.safetensors' in model directory '{model}' is a pipe or a device" in refusal(model)


def test_a_tokenizer_whose_longest_text_is_no_number(model: Path) -> None:
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": "long"}))
    assert "could not be loaded" in refusal(model)


def test_finite_weights_whose_logits_are_not(model: Path) -> None:
    changed(model, lambda tensors: tensors["model.norm.weight"].fill_(3e38))
    assert "computes logits that are NaN or infinite for a few tokens" in refusal(model)


def test_a_token_that_was_added_without_a_row_is_named(model: Path) -> None:
    tokenizer = char_tokenizer()
    room = 64 - len(tokenizer)
    tokenizer.add_tokens([f"<filler{index}>" for index in range(room)] + ["<plan>", "</plan>"])
    tokenizer.save_pretrained(model)
    sentence = refusal(model)
    assert "has tokens beyond the model's 64 embeddings ('<plan>' is 64, '</plan>' is 65)" in sentence
    assert "resize the embedding" in sentence


def test_an_embedding_with_more_rows_than_tokens_is_fine_and_decodes_to_something(model: Path) -> None:
    loaded = load_model(str(model))
    assert len(loaded.tokenizer) < loaded.transformer.num_embeddings
    assert isinstance(loaded.text([63, 62]), str)


def test_tokens_for_padding_and_the_end_may_lie_beyond_the_rows(model: Path) -> None:
    tokenizer = char_tokenizer()
    tokenizer.add_tokens([f"<filler{index}>" for index in range(64 - len(tokenizer))])
    tokenizer.add_special_tokens({"eos_token": "<over>", "pad_token": "<pad-me>"})
    tokenizer.save_pretrained(model)
    assert any("<over>" in note for note in load_model(str(model)).texts.notes)


def test_what_is_no_error_passes_and_a_panic_does_not() -> None:
    class PanicException(BaseException):
        """What Rust's panics are in Python: no Exception."""

    for foreign in (PanicException("index out of range"), RecursionError(), Exception("no kind at all"), KeyError("q")):
        with pytest.raises(ModelError), one_sentence(reason_of):
            raise foreign
    with pytest.raises(KeyboardInterrupt), one_sentence(reason_of):
        raise KeyboardInterrupt


class Failing:
    """A tokenizer that gives up, as real ones do at some texts: with a bare Exception."""

    eos_token_id, chat_template = 1, None

    def encode(self, text: str, **_options: object) -> list[int]:
        """Fail."""
        raise Exception(f"no token\nfor {text}")

    def decode(self, *_ids: object, **_options: object) -> str:
        """Fail."""
        raise Exception("no such token")


def test_a_tokenizer_that_fails_at_a_text_is_one_sentence() -> None:
    texts = Texts("own", Failing())
    with pytest.raises(
        ModelError, match=r"^the tokenizer of 'own' cannot encode '7§' \(Exception: no token for 7§\)\.$"
    ):
        texts.encode([("7§", True)])
    with pytest.raises(ModelError, match="the tokenizer of 'own' cannot decode"):
        texts.exact([3])


def test_memory_that_is_not_there_is_said_as_such(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_arguments: object, **_options: object) -> object:
        return torch.empty(1 << 60)

    monkeypatch.setattr("creditree.models.reading.AutoModelForCausalLM.from_pretrained", greedy)
    assert "does not fit into memory" in refusal(model)


@pytest.mark.parametrize(
    "lack", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 18.00 MiB")]
)
def test_a_lack_of_memory_is_not_called_a_fault_of_the_model(lack: Exception) -> None:
    with pytest.raises(type(lack)), one_sentence(lambda error: f"this model cannot be run ({reason_of(error)})"):
        raise lack
