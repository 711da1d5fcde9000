"""What `creditree pilot` says on word problems: with three seeds as it is, and with three that cannot learn anything.

Prints one JSON line a pilot, and writes them to benchmarks/results/pilot.jsonl. The problems are those of
docs/pilot.md, written by its own script. A placebo is the same pilot with a learning rate of 1e-12: every gain that it
claims is a false one.

    python benchmarks/pilot.py [--budget 60s] [--seeds 3]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from creditree.runs.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "pilot.jsonl"
PLACEBO = ("--set", "train.learning_rate=1.0e-12")


def write_problems(folder: Path) -> None:
    """Run the script of docs/pilot.md."""
    page = (ROOT / "docs" / "pilot.md").read_text(encoding="utf-8")
    (script, *_) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)


def pilot(folder: Path, seed: int, budget: str, extra: tuple[str, ...]) -> dict[str, Any]:
    """Run one pilot, and return the figures of its report."""
    name = f"{'placebo' if extra else 'pilot'}-{seed}"
    command = [
        *("creditree", "pilot", "problems.csv", "--model", "builtin:word_problems", "--budget", budget),
        *("--guard", "guard.csv", "--seed", str(seed), "--out", name, *extra),
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--json"], cwd=folder, check=True, capture_output=True, text=True
    )
    record = json.loads(done.stdout)
    return {
        "what": "placebo" if extra else "pilot",
        "command": " ".join(command),
        "seed": seed,
        "result": record["result"],
        "decision": record["recommendation"]["decision"],
        "outlook": {
            key: record["outlook"][key]
            for key in ("verdict", "temperature", "group", "detectable_gain", "seconds_to_detect")
        },
        "trials": record["trials"],
        "choice": record["choice"],
        "guard": record["guard"]["accuracy"]["difference"],
        "tokens": record["cost"]["tokens"],
        "seconds": record["seconds"],
        "training_seconds": record["cost"]["training_seconds"],
    }


def main() -> None:
    """Run all pilots, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_problems(folder)
        for extra in ((), PLACEBO):
            for seed in range(options.seeds):
                found = pilot(folder, seed, options.budget, extra) | {"environment": describe_environment()}
                lines.append(json.dumps(found))
                print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
