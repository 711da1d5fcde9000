"""Updates of a base in bfloat16, int8 or nf4 on a processor without instructions for it: widened products and torch's.

Prints one JSON line. A step is sampled once and learned from by turns: with products in float32
(`creditree/models/products.py`), and with torch's own of bfloat16. `update_s` and `torch_s`: CPU seconds, medians;
`ratio`: of each round, torch's over ours, as median, smallest and largest. `widens`: whether a run would widen here.

`instructions`: the largest that oneDNN was allowed, where it was told; the variables below make torch's libraries work
as on a laptop without AVX-512.

    export ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2
    python -m benchmarks.wide_products --model build/weights/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf --method grpo
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from os import environ
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any
from unittest.mock import patch

from benchmarks.measure import spread
from benchmarks.step import LEARNING_RATE, Bench, CountedLearner
from creditree.learner.learner import Learner
from creditree.models import products
from creditree.processor import multiplies_bfloat16
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.tasks.word_problems import WordProblems

PROBLEMS = 4


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Sample a step, and return what its update takes in either way."""
    bench = Bench.on(options, WordProblems())
    learner = bench.parts.learner
    assert isinstance(learner, Learner)
    kept: Any = CountedLearner(learner, None)
    bench.loop.parts = replace(bench.parts, learner=kept)
    bench.step()
    batch = kept.batch
    if batch is None:
        raise SystemExit("all completions got the same reward, so there is no update; set another --seed.")
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(options.rounds):
        for wanted in (True, False) if turn % 2 else (False, True):
            with patch.object(products, "multiplies_bfloat16", return_value=not wanted):  # whatever the processor is
                began = process_time()
                learner.step(batch, Key.of(turn), LEARNING_RATE)
                taken[wanted].append(process_time() - began)
    ratios = [theirs / ours for ours, theirs in zip(taken[True], taken[False], strict=True)]
    return {
        "update_s": median(taken[True]),
        "torch_s": median(taken[False]),
        "ratio": spread(ratios),
        "tokens_forwarded": bench.ledgers[-1].forwarded,
        "loss_terms": bench.ledgers[-1].in_loss,
        "instructions": environ.get("ONEDNN_MAX_CPU_ISA"),
        "widens": not multiplies_bfloat16(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a directory, a GGUF file, a hub name, or random:NAME")
    parser.add_argument("--method", default="grpo")
    parser.add_argument("--dtype", choices=("bfloat16", "int8", "nf4"), default="bfloat16")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    shown = {**vars(options), "model": Path(options.model).name, "problems": PROBLEMS}
    fixed = {"problems": PROBLEMS, "temperature": 1.0, "micro_batch_tokens": None, "memory": None, "replays": 0}
    asked = argparse.Namespace(**vars(options), **fixed, device="cpu")
    print(json.dumps({"benchmark": "wide_products", **shown, **measure(asked), "environment": describe_environment()}))


if __name__ == "__main__":
    main()
