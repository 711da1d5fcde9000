"""How long `creditree train` takes to its first step, against `import transformers, peft`; and what shows a run.

Prints one JSON line: CPU and wall seconds (medians of alternating rounds), their ratio with its range, and the shares
of the imports' CPU seconds that `creditree --help`, `report` and `tree` take. The run measures one test problem before
it trains, so that what is timed is the start and not an evaluation; the first step is over when its line is in
metrics.jsonl. `report` and `tree` show that run.

    python benchmarks/start.py [--rounds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

from creditree.runs.environment import describe_environment

RESULTS = Path(__file__).resolve().parent / "results"
CONFIG = "task: multiplication\ntrain: {steps: 1}\nevaluation: {problems: 1, temperatures: [0.0]}\n"
CONFIG += "log: {rollouts_every: 1}\n"
TICKS = os.sysconf("SC_CLK_TCK")

Seconds = tuple[float, float]
"""CPU and wall."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a running process, without its finished children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def timed(command: list[str]) -> Seconds:
    """Return what a command takes to its end."""
    before, started = os.times(), perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, perf_counter() - started


def to_first_step(command: list[str], run: Path) -> Seconds:
    """Return what `creditree train` takes until its first step is recorded."""
    started = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        metrics = run / "metrics.jsonl"
        while not (metrics.is_file() and metrics.stat().st_size):
            if process.poll() is not None:
                raise SystemExit(f"creditree train ended early: {process.communicate()[1].decode()}")
            sleep(0.01)
        found = cpu_seconds(process.pid), perf_counter() - started
        process.communicate()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    creditree = [sys.executable, "-m", "creditree"]
    rounds: list[dict[str, Seconds]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(CONFIG, encoding="utf-8")
        for index in range(options.rounds + 1):
            run = Path(folder, f"run-{index}")
            found = {
                "imports": timed([sys.executable, "-c", "import transformers, peft"]),
                "first_step": to_first_step([*creditree, "train", str(config), "--run", str(run)], run),
                "help": timed([*creditree, "--help"]),
                "report": timed([*creditree, "report", str(run)]),
                "tree": timed([*creditree, "tree", str(run)]),
            }
            if index:  # the first round fills the caches of files and of compiled code
                rounds.append(found)
    ratios = [found["first_step"][0] / found["imports"][0] for found in rounds]
    record = {
        "benchmark": "start",
        "rounds": options.rounds,
        "cpu_s": {name: statistics.median(found[name][0] for found in rounds) for name in rounds[0]},
        "wall_s": {name: statistics.median(found[name][1] for found in rounds) for name in rounds[0]},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "share_of_imports": {
            name: statistics.median(found[name][0] / found["imports"][0] for found in rounds)
            for name in ("help", "report", "tree")
        },
        "environment": describe_environment(),
    }
    line = json.dumps(record)
    print(line)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "start.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
