"""Train a built-in base model from nothing: ``python -m recipes.tiny_base.train multiplication --out DIR``."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.random import Generator
from torch import Tensor
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from creditree.rng import Key
from recipes.tiny_base import long_multiplication_corpus, multiplication_corpus, vocabulary, word_problems_corpus

IGNORED = -100


@dataclass(frozen=True)
class Recipe:
    """What makes one base model; every field is a setting of the run that the README records."""

    example: Callable[[Generator], tuple[str, str]]
    tokenizer: Callable[[], Qwen2Tokenizer]
    num_steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    warm_up: int = 50
    decay_share: float = 0.3
    clip: float = 1.0
    seed: int = 0


RECIPES = {
    "long_multiplication": Recipe(long_multiplication_corpus.example, vocabulary.characters, num_steps=1200),
    "multiplication": Recipe(multiplication_corpus.example, vocabulary.characters, num_steps=1380),
    "word_problems": Recipe(word_problems_corpus.example, vocabulary.words, num_steps=2400),
}


def new_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """Return an untrained model of 0.6 M parameters: 6 layers of width 96, 3 query heads and 1 key-value head of 32."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=1,
        max_position_embeddings=vocabulary.MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config)


def batch_of(recipe: Recipe, tokenizer: Qwen2Tokenizer, step: int) -> tuple[Tensor, Tensor]:
    """Return the token ids and labels of one step's batch, padded on the right; the loss is on completions only."""
    rng = Key.of(recipe.seed).at("corpus", step).generator()
    texts = [recipe.example(rng) for _ in range(recipe.batch)]
    rows = [(tokenizer.encode(text), [*tokenizer.encode(reply), tokenizer.eos_token_id]) for text, reply in texts]
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        labels[row, len(prompt) : end] = torch.tensor(completion)
    return ids, labels


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Return the factor on the learning rate: linear warm-up, then flat, then linear to zero over `decay_share`."""
    decay_steps = recipe.decay_share * recipe.num_steps
    return min(1.0, (step + 1) / recipe.warm_up, (recipe.num_steps - step) / decay_steps)


def training_losses(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, recipe: Recipe) -> Iterator[tuple[float, int]]:
    """Train `model` in place; yield each step's mean loss in nats and its number of tokens, padding not counted."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=recipe.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(recipe, step))
    model.train()
    for step in range(recipe.num_steps):
        ids, labels = batch_of(recipe, tokenizer, step)
        logits = model(ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield loss.item(), int((ids != tokenizer.pad_token_id).sum())


def save(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, out: Path) -> str:
    """Write an ordinary transformers directory and return the sha256 of its weights."""
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def main(arguments: list[str]) -> None:
    """Train the named model, print progress, and write it to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="stop the recipe's schedule after so many steps")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = RECIPES[options.model]
    tokenizer = recipe.tokenizer()
    model = new_model(tokenizer, recipe.seed)
    started, num_tokens = time.process_time(), 0
    for step, (loss, tokens) in enumerate(training_losses(model, tokenizer, recipe)):
        num_tokens += tokens
        if step % 20 == 0:
            print(f"step {step} loss {loss:.4f} seconds {time.process_time() - started:.0f}", flush=True)
        if options.steps is not None and step + 1 >= options.steps:
            break
    seconds = round(time.process_time() - started)
    print(
        json.dumps(
            {
                "model": options.model,
                "sha256": save(model, tokenizer, options.out),
                "tokens": num_tokens,
                "seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
