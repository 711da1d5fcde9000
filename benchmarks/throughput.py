"""Tokens a second that the engine samples, against how many completions are decoded together.

    python benchmarks/throughput.py [--model tiny --model small] [--rows 8 50 200 400]

Each figure is beside that of transformers' `generate` in the same process, over the same files, with the same LoRA
adapter, prompt, length and temperature (paired rounds, ABBA, one thread; one round above 64 rows, and no `generate`
above 200). The peaky models are sampled at temperature 0.3, where completions share prefixes: `sharing` compares the
engine's seconds there with those on the plain model.
Prints one JSON line and writes it into benchmarks/results/throughput.json.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.measure import read_prompts, spread
from benchmarks.models import model_directory, prompt_file
from benchmarks.trl_environment import cache_directory
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.prompt import prompt_ids
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import load_model
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.tasks.task import PromptTemplate

RESULTS = Path(__file__).resolve().parent / "results"
RANK, TARGETS = 8, ("q_proj", "v_proj")
MANY_ROWS, TOO_MANY_ROWS = 64, 200
"""Above the first a round is not repeated; above the second `generate`, which takes a minute, is not run."""
Work = Callable[[int, int], dict[str, int]]


class Systems:
    """Both systems on one model; each takes a round's index and a number of completions."""

    def __init__(self, directory: Path, dtype: Any, prompts: list[str], tokens: int, temperature: float) -> None:
        self.model = load_model(str(directory), dtype)
        adapter = Adapter(self.model, LoraSpec(rank=RANK, targets=TARGETS), Key.of(0))
        self.engine = InProcessEngine(self.model)
        layers = list(adapter.layer_indices)
        plain: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype))
        lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(TARGETS), layers_to_transform=layers)
        self.plain: Any = get_peft_model(plain, lora).eval()
        self.prompts = [
            prompt_ids(PromptTemplate(), Problem(str(number), text, ()), self.model)
            for number, text in enumerate(prompts)
        ]
        self.tokens = tokens
        self.temperature = temperature

    def ours(self, index: int, rows: int) -> dict[str, int]:
        """Sample with the engine; return what it counted."""
        keys = tuple(Key.of(index).at(member) for member in range(rows))
        request = SampleRequest(self.prompts[index], keys, self.tokens)
        (samples,), ledger = self.engine.sample([request], Sampling(self.temperature))
        self.engine.forget()
        sampled = sum(len(sample.token_ids) for sample in samples)
        return {"tokens_sampled": sampled, "rows_decoded": ledger.decoded}

    @torch.no_grad()
    def theirs(self, index: int, rows: int) -> dict[str, int]:
        """Sample with `generate`."""
        ids = torch.tensor(self.prompts[index])[None].repeat(rows, 1)
        self.plain.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=self.temperature,
            top_k=0,
            max_new_tokens=self.tokens,
            eos_token_id=list(self.model.eos_ids),
            pad_token_id=self.model.tokenizer.pad_token_id,
        )
        return {}


def compare(systems: Systems, rows: int, rounds: int, generate: bool) -> dict[str, Any]:
    """Return tokens a CPU second at some number of completions, over paired rounds."""
    names = ("creditree", "generate") if generate else ("creditree",)
    work: dict[str, Work] = {"creditree": systems.ours, "generate": systems.theirs}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    counted = []
    for index in range(1, rounds + 1):
        for name in names if index % 2 else reversed(names):
            started = process_time()
            count = work[name](index, rows)
            seconds[name].append(process_time() - started)
            counted += [count] if count else []
    found = {
        "rows": rows,
        "tokens_per_s": {name: spread([rows * systems.tokens / s for s in held]) for name, held in seconds.items()},
        "cpu_s": seconds,
        "work": counted,
    }
    if generate:
        pairs = zip(seconds["creditree"], seconds["generate"], strict=True)
        found["generate_over_creditree"] = spread([theirs / ours for ours, theirs in pairs])
    return found


def sharing(plain: list[dict[str, Any]], peaky: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by how much shared prefixes sped the engine up, beside tokens sampled over rows decoded."""
    found = []
    for apart, together in zip(plain, peaky, strict=True):
        seconds = zip(apart["cpu_s"]["creditree"], together["cpu_s"]["creditree"], strict=True)
        found.append(
            {
                "rows": together["rows"],
                "speedup": spread([a / b for a, b in seconds]),
                "tokens_over_rows_decoded": spread(
                    [work["tokens_sampled"] / work["rows_decoded"] for work in together["work"]]
                ),
            }
        )
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=("tiny", "small"), help="default: both")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50, 200, 400])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--cache", type=Path, default=cache_directory())
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prompts = read_prompts(prompt_file(options.cache))
    record: dict[str, Any] = {"benchmark": "throughput", "tokens": options.tokens, "dtype": options.dtype, "models": {}}
    for name in options.model or ("tiny", "small"):
        found = {}
        for kind, temperature in ((name, 1.0), (f"peaky-{name}", 0.3)):
            directory = model_directory(kind, options.cache)
            systems = Systems(directory, options.dtype, prompts, options.tokens, temperature)
            generate = kind == name
            compare(systems, min(options.rows), 1, generate)  # warms up
            found[kind] = [
                compare(systems, rows, options.rounds if rows <= MANY_ROWS else 1, generate and rows <= TOO_MANY_ROWS)
                for rows in options.rows
            ]
        record["models"] |= found
        record[f"sharing-{name}"] = sharing(found[name], found[f"peaky-{name}"])
    record["environment"] = describe_environment()
    line = json.dumps(record)
    print(line)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "throughput.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
