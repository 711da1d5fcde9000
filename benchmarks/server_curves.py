"""The same runs with a vLLM server and with the engine in this process: do they learn the same?

T-SPMO and GRPO on the built-in word problems, three seeds each, one run after the other; the model is saved as a
directory, and one server is started for all. Prints one JSON line a run: the mean reward of each step, the accuracy
before and after, the mismatch of sampler and learner (mean over steps, nats a token), and what sampling and learning
took; then a line a method with means and standard deviations over the seeds. With `--out` the lines are added to a
file, and runs that are in it are not made again.

    python benchmarks/server_curves.py --python .venv-vllm/bin/python [--steps 60] [--out FILE]
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from creditree.config.load import parse_config
from creditree.engines.vllm.client import KEY
from creditree.engines.vllm.command import OwnSpec, half_of_cores
from creditree.engines.vllm.own import OwnServer
from creditree.models.load import load_model
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.runs.environment import describe_environment
from creditree.setup.training import train_into

METHODS = {"t-spmo": "{name: t-spmo, group: 8, l2: 0}", "grpo": "{name: grpo, group: 8, kl: 0}"}
SEEDS = (0, 1, 2)
ENGINES = ("in_process", "vllm")
RUN = """
seed: {seed}
model: {{name: "{model}", dtype: bfloat16}}
task: {{name: word_problems, num_held_out: 200}}
method: {method}
lora: {{layers: 1.0}}
sampling: {{temperature: 1.0, max_new_tokens: 64}}
engine: {engine}
train: {{steps: {steps}, problems_per_step: 8, learning_rate: 5e-3}}
evaluation: {{problems: 200, temperatures: [0]}}
"""


class Told(Watcher):
    """Says what it is told."""

    def message(self, text: str) -> None:
        """Print a sentence."""
        print(text, flush=True)


def run_of(model: Path, method: str, seed: int, engine: str, url: str, steps: int, folder: Path) -> dict[str, Any]:
    """Make one run; return its line."""
    written = f'{{name: vllm, url: "{url}"}}' if engine == "vllm" else "in_process"
    text = RUN.format(seed=seed, model=model, method=METHODS[method], engine=written, steps=steps)
    summary = train_into(parse_config(text, "run.yaml"), folder, Told())
    records: list[dict[str, Any]] = RunDirectory.read(folder).metrics()
    mismatch = [record["sampler_mismatch_mean"] for record in records if record["sampler_mismatch_mean"] is not None]
    seconds = records[-1]["seconds_by_phase"]
    comparison: Any = summary.to_json()
    return {
        "method": method,
        "seed": seed,
        "engine": engine,
        "steps": steps,
        "rewards": [record["reward_mean"] for record in records],
        "before": comparison["before"]["value"],
        "after": comparison["after"]["value"],
        "mismatch": fmean(mismatch) if mismatch else None,
        "seconds": {name: round(seconds.get(name, 0.0), 1) for name in ("sample", "learn")},
    }


def summed_up(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line a method: over the seeds, mean and deviation of the reward in the last half of the steps."""
    found = []
    for method in METHODS:
        by_engine = {}
        for engine in ENGINES:
            own = [line for line in lines if (line["method"], line["engine"]) == (method, engine)]
            late = [fmean(line["rewards"][len(line["rewards"]) // 2 :]) for line in own]
            early = [fmean(line["rewards"][: len(line["rewards"]) // 4]) for line in own]
            by_engine[engine] = {
                "first_quarter": round(fmean(early), 4),
                "last_half": round(fmean(late), 4),
                "last_half_sd": round(stdev(late), 4),
                "by_seed": [round(value, 4) for value in late],
            }
        found.append({"method": method, **by_engine})
    return found


def main() -> None:
    """Make all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter that has vLLM")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    known = arguments.out.read_text().splitlines() if arguments.out and arguments.out.exists() else []
    lines = [line for line in map(json.loads, known) if "engine" in line]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        loaded = load_model("builtin:word_problems")
        loaded.network.model.save_pretrained(str(model))
        loaded.tokenizer.save_pretrained(str(model))
        spec = OwnSpec(arguments.python, str(model), "bfloat16", "cpu", 1, half_of_cores(), rank=8)
        server = OwnServer(spec, print)
        os.environ[KEY] = server.key
        try:
            for seed in SEEDS:
                for method in METHODS:
                    for engine in ENGINES:
                        if any((m["method"], m["seed"], m["engine"]) == (method, seed, engine) for m in lines):
                            continue
                        run = Path(folder) / f"{method}-{seed}-{engine}"
                        lines.append(run_of(model, method, seed, engine, server.url, arguments.steps, run))
                        _say(lines[-1], arguments.out)
        finally:
            server.stop()
    for line in summed_up(lines):
        _say(line | {"environment": describe_environment()}, arguments.out)


def _say(line: dict[str, Any], out: Path | None) -> None:
    print(json.dumps(line), flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
