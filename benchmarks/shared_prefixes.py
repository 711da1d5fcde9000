"""Sampling a group: Creditree's engine against transformers' `generate`, same model, prompt, length and temperature.

Prints one JSON line: CPU seconds of both (medians of paired rounds, ABBA), their ratio with its range, and the work:
tokens sampled, rows decoded and unique prefixes. The model is the built-in one; EOS cannot be sampled, so that both
systems do exactly the same work.

    python benchmarks/shared_prefixes.py [--group 16] [--temperature 0.5] [--tokens 40] [--rounds 5]
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.prompt import prompt_ids
from creditree.models.load import Model, load_model
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.tasks.multiplication import Multiplication

RESULTS = Path(__file__).resolve().parent / "results"


def without_end(model: Model) -> None:
    """Make the end-of-sequence token's logit very low, through a bias that the output head otherwise lacks."""
    bias = torch.zeros(model.transformer.vocab_size)
    bias[list(model.eos_ids)] = -1e9
    model.transformer.model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)


def cpu_seconds(work: Callable[[int], None], index: int) -> float:
    """Return the processor time of one call."""
    started = process_time()
    work(index)
    return process_time() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    model = load_model("builtin:multiplication")
    without_end(model)
    engine = InProcessEngine(model)
    task = Multiplication(4, 1)
    prompts = [prompt_ids(task.prompt, problem, model) for problem in task.held_out("test", options.rounds + 1)]
    sampling = Sampling(options.temperature)
    counted: dict[str, int] = {}
    generate: Any = model.transformer.model.generate

    def ours(index: int) -> None:
        engine.forget()
        keys = tuple(Key.of(index).at(member) for member in range(options.group))
        (samples,), ledger = engine.sample([SampleRequest(prompts[index], keys, options.tokens)], sampling)
        counted["sampled"] = sum(len(sample.token_ids) for sample in samples)
        counted["rows_decoded"] = ledger.decoded
        counted["unique_prefixes"] = len({tuple(s.token_ids[:t]) for s in samples for t in range(len(s.token_ids))})

    def theirs(index: int) -> None:
        ids = torch.tensor(prompts[index])[None].repeat(options.group, 1)
        generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=options.temperature,
            top_k=0,
            max_new_tokens=options.tokens,
            pad_token_id=model.texts.ends.eos,
        )

    pairs, work = [], []
    for index in range(options.rounds + 1):
        first, second = (ours, theirs) if index % 2 else (theirs, ours)
        times = {system: cpu_seconds(system, index) for system in (first, second)}
        if index:  # the first round warms up
            pairs.append((times[ours], times[theirs]))
            work.append(dict(counted))
    ratios = [b / a for a, b in pairs]
    record = {
        "benchmark": "shared_prefixes",
        "group": options.group,
        "temperature": options.temperature,
        "tokens": options.tokens,
        "rounds": options.rounds,
        "cpu_s": {
            "creditree": statistics.median(a for a, _ in pairs),
            "generate": statistics.median(b for _, b in pairs),
        },
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "work": work,
        "environment": describe_environment(),
    }
    line = json.dumps(record)
    print(line)
    RESULTS.mkdir(exist_ok=True)
    name = f"shared_prefixes-G{options.group}-T{options.temperature:g}.json"
    (RESULTS / name).write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
