"""The rows of the table that are about the shape of Qwen2-1.5B, in bfloat16 on one CPU core (about an hour).

Runs `step.py` on random weights with a prompt of 100 tokens and completions of 300, one process a row, and writes each
record into benchmarks/results/step-*.json.

    python benchmarks/big.py [--row t-spmo-g50 ...]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.goals import BIG
from benchmarks.models import prompt_file
from benchmarks.trl_environment import cache_directory

HERE = Path(__file__).resolve().parent
PROMPT_TOKENS = 100
ROWS = {
    "t-spmo-g50": ("--method", "t-spmo", "--group", "50", "--steps", "1"),
    "grpo-g8": ("--method", "grpo", "--group", "8", "--steps", "1"),
    "grpo-g50": ("--method", "grpo", "--group", "50", "--steps", "0"),  # for its operations alone
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", choices=sorted(ROWS), help="default: all of them")
    parser.add_argument("--cache", type=Path, default=cache_directory())
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    prompts = prompt_file(options.cache, tokens=PROMPT_TOKENS)
    model = ("--model", "random:qwen2-1.5b", "--dtype", "bfloat16", "--max-new-tokens", "300", "--warmup", "0")
    if hasattr(os, "sched_setaffinity"):  # the processes that are started inherit it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name in options.row or ROWS:
        command = [sys.executable, str(HERE / "step.py"), *model, *ROWS[name], "--prompts", str(prompts), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"benchmark"'))
        print(line, flush=True)
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / f"step-{BIG}-{name}.json").write_text(json.dumps(json.loads(line)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
