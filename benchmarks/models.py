"""The random models that both systems load from the same files, and the prompts that both get.

`tiny` and `small` are Qwen2 models whose end-of-sequence token is one id past the vocabulary, so it cannot be sampled
and every completion has the length asked for. The `peaky` ones have a larger final norm, which sharpens what they
predict: at temperature 0.3 their completions share prefixes, as a trained model's do.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import Shape
from creditree.rng import Key

PROMPT_TOKENS = 40
MAX_POSITIONS = 1024
_TINY = Shape(6, 128, 4, 2, 32, 352, 512, MAX_POSITIONS, qkv_bias=True)
_SMALL = Shape(8, 512, 8, 2, 64, 704, 32768, MAX_POSITIONS, qkv_bias=True)


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """A shape, and what its final norm is multiplied by."""

    shape: Shape
    sharpness: float = 1.0


MODELS = {
    "tiny": BenchmarkModel(_TINY),
    "small": BenchmarkModel(_SMALL),
    "peaky-tiny": BenchmarkModel(_TINY, 8.0),
    "peaky-small": BenchmarkModel(_SMALL, 6.0),
}


def model_directory(name: str, cache: Path) -> Path:
    """Return the directory of a benchmark model, written on first use (float32)."""
    directory = cache / f"model-{name}-1"
    if not (directory / "tokenizer.json").is_file():  # written last
        made = MODELS[name]
        model = random_model(made.shape, torch.float32)
        model.model.norm.weight.mul_(made.sharpness)
        model.save_pretrained(directory)
        byte_tokenizer(made.shape.vocab_size).save_pretrained(directory)
    return directory


def prompt_file(cache: Path, count: int = 64, tokens: int = PROMPT_TOKENS) -> Path:
    """Return a file of prompts of so many letters each, one a line: with the tokenizers here a letter is a token."""
    path = cache / f"prompts-{tokens}-{count}.txt"
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = []
    for index in range(count):
        drawn = Key.of(0).at("prompts", index).generator().integers(len(letters), size=tokens)
        lines.append("".join(letters[number] for number in drawn))
    cache.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
