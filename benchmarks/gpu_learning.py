"""Learning on the GPU for a minute, step by step in the records.

    PYTHONPATH=src:. python benchmarks/gpu_learning.py [--config FILE] [--weights DIR] [--seconds 60] [--out DIR]

With a GGUF file in the folder of weights it is T-SPMO on SVAMP as in recipes/real, with longer completions; without
one, the quick start's tiny model. The run is `creditree train` in a process of its own; each of its steps is added to
the records when it is made.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import EAGER_STATUS, parser_of, write

ROOT = Path(__file__).resolve().parents[1]
CARRIED = ROOT / "benchmarks" / "carry"
KEPT = (
    "step",
    "reward_mean",
    "mixed_share",
    "sampled",
    "decoded",
    "forwarded",
    "updates",
    "captures",
    "eager",
    "seconds",
)


def command_of(options: argparse.Namespace, run: Path) -> list[str]:
    """Return the command of the run."""
    weights = sorted(options.weights.glob("*.gguf"))
    changed: dict[str, object] = {"model.device": options.device, "train.seconds": options.seconds}
    extra: list[str] = []
    if weights:
        config = options.config or ROOT / "recipes" / "real" / "svamp_t_spmo.yaml"
        changed |= {
            "model.name": weights[-1],
            "model.dtype": "bfloat16",
            "train.steps": 1000,
            "evaluation.problems": 50,
        }
        changed |= {"sampling.max_new_tokens": options.max_new_tokens, "evaluation.temperatures": "[0]"}
        data = options.weights / "svamp.jsonl"
        extra = ["--data", str(data)] if data.is_file() else []
    else:
        config = options.config or ROOT / "recipes" / "quickstart.yaml"
        changed |= {"evaluation.problems": 20}
    if options.device == "cpu":
        changed |= {"train.steps": 2}
    settings = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "creditree", "train", str(config), "--run", str(run), *extra, *settings]


def new_records(metrics: Path, known: int) -> list[dict[str, Any]]:
    """Return the steps that were written since `known` of them were there."""
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.is_file() else []
    return [json.loads(line) for line in lines[known:] if line.endswith("\n")]


def follow(options: argparse.Namespace, run: Path) -> tuple[int, list[dict[str, Any]]]:
    """Start the run and write each step down when it is made; return its exit status and all steps."""
    steps: list[dict[str, Any]] = []
    process = subprocess.Popen(command_of(options, run), env=os.environ)
    try:
        while True:
            code = process.poll()
            for record in new_records(run / "metrics.jsonl", len(steps)):
                steps.append({name: record.get(name) for name in KEPT})
                write(f"learning step {record['step']}", steps[-1], options.device, options.out, quiet=True)
                print(json.dumps(steps[-1]), file=sys.stderr, flush=True)
            if code is not None:
                return code, steps
            sleep(0.5)
    finally:
        process.kill()


def main() -> None:
    """Learn for a while and write what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--weights", type=Path, default=CARRIED, help="a folder with a GGUF file and svamp.jsonl")
    parser.add_argument("--seconds", type=float, default=45, help="of training")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        code, steps = follow(options, run)
        summary = run / "summary.json"
        found = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else None
    real = any(options.weights.glob("*.gguf"))
    record = {"benchmark": "gpu_learning", "real": real, "steps": len(steps), "summary": found}
    write("learning", record, options.device, options.out)
    eager = any(step["eager"] for step in steps)
    sys.exit(code or EAGER_STATUS * eager)


if __name__ == "__main__":
    main()
