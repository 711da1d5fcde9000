"""A digest is the base's: its names, types, shapes and bytes, whatever adapter is attached."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from creditree.errors import ModelError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.digest import weights_digest
from creditree.rng import Key
from tests.tiny_models import tiny


def test_one_number_changes_the_digest_and_an_adapter_does_not() -> None:
    model = tiny(dtype=torch.float32)
    before = weights_digest(model.transformer)
    assert weights_digest(tiny(dtype=torch.float32).transformer) == before
    Adapter(model, LoraSpec(rank=2, layers=(1,)), Key.of(1))
    assert weights_digest(model.transformer) == before
    with torch.no_grad():
        model.transformer.model.get_parameter("model.norm.weight")[3] += 1e-6
    assert weights_digest(model.transformer) != before


def test_precision_and_names_count() -> None:
    assert weights_digest(tiny(dtype=torch.float32).transformer) != weights_digest(
        tiny(dtype=torch.bfloat16).transformer
    )


def test_a_directory_is_known_by_its_tensors_however_they_are_split(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    save_file(tensors, one / "model.safetensors")
    for name, tensor in tensors.items():
        save_file({name: tensor}, two / f"{name}.safetensors")
    assert weights_digest(one) == weights_digest(two)
    save_file({"a": tensors["a"].view(3, 2), "b": tensors["b"]}, two / "a.safetensors")
    (two / "b.safetensors").unlink()
    assert weights_digest(one) != weights_digest(two)


def test_files_that_are_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        weights_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        weights_digest(tmp_path)
