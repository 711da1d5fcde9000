"""Bytes of the weights, said before loading: to the byte what a loaded model holds."""

from pathlib import Path

import pytest
import torch

from creditree.models.footprint import held_bytes, weight_bytes
from creditree.models.load import Dtype, load_model
from creditree.models.shapes import PUBLIC_SHAPES, Shape, shape_of
from tests.tiny_models import FAMILIES, char_tokenizer, random_model

DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "nf4")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_said_is_held(family: str, dtype: Dtype, tmp_path: Path) -> None:
    """Qwen2 with biases and a tied head, Qwen3 with norms of queries and keys, Llama with a head of its own."""
    random_model(family, torch.float32).save_pretrained(tmp_path)
    char_tokenizer().save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape is not None
    assert weight_bytes(shape, dtype) == held_bytes(load_model(str(tmp_path), dtype).transformer.model)


@pytest.mark.parametrize("dtype", DTYPES)
def test_said_is_held_of_the_model_that_ships(dtype: Dtype) -> None:
    shape = shape_of("builtin:multiplication")
    assert shape is not None
    assert weight_bytes(shape, dtype) == held_bytes(load_model("builtin:multiplication", dtype).transformer.model)


def test_by_hand() -> None:
    """One layer: q 4x4, k and v 2x4, o 4x4, gate and up 6x4, down 4x6; two norms of 4, a last norm, 10 embeddings."""
    shape = Shape(1, 4, 2, 1, 2, 6, 10, 16)
    matrices, rest = 16 + 8 + 8 + 16 + 3 * 24, 2 * 4 + 4 + 40
    rotary = 2 * 1 * 4
    assert weight_bytes(shape, "float32") == 4 * (matrices + rest) + rotary
    assert weight_bytes(shape, "bfloat16") == 2 * (matrices + rest) + rotary
    outputs = 4 + 2 + 2 + 4 + 6 + 6 + 4
    assert weight_bytes(shape, "int8") == matrices + 4 * outputs + 2 * rest + rotary
    # each of the seven has one block: one byte of scale, one float32 scale of scales, one float32 mean; and two tables
    assert weight_bytes(shape, "nf4") == matrices // 2 + 7 * (1 + 4 + 4) + 4 * (16 + 256) + 2 * rest + rotary


def test_the_papers_model() -> None:
    """Qwen2-1.5B, in GB: 1.54e9 numbers, of which 1.31e9 are in projections."""
    shape = PUBLIC_SHAPES["Qwen/Qwen2-1.5B"]
    found = [round(weight_bytes(shape, dtype) / 1e9, 3) for dtype in DTYPES]
    assert found == [6.175, 3.087, 1.780, 1.143]
