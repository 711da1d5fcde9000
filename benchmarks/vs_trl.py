"""The same training steps by Creditree and by TRL's GRPOTrainer: same model files, prompts, sizes, LoRA and reward.

    python benchmarks/vs_trl.py [--case grpo-small-g8-t64 ...] [--rounds 3]

Each round runs each system once, in a process of its own on one core with one thread, and every other round in the
opposite order (ABBA). Prints one JSON line a case: TRL's CPU seconds divided by ours (median, smallest and largest over
the rounds), and the same of the peak memory over the imports; writes it with all raw rounds into
benchmarks/results/vs_trl-CASE.json. TRL lives in a virtual environment of its own, which is made on first use.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.cases import CASES, OUR_VARIANTS, TRL_VARIANTS, Case, Work
from benchmarks.measure import PHASES, spread
from benchmarks.models import model_directory, prompt_file
from benchmarks.trl_environment import cache_directory, trl_python
from creditree.runs.environment import describe_environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
MOST_COUNTED = 1024  # tokens: a step more of larger work takes TRL half a minute
Record = dict[str, Any]


class Runner:
    """Runs one system once and returns what it printed."""

    def __init__(self, cache: Path, python: Path) -> None:
        self.cache = cache
        self.python = python
        self.prompts = prompt_file(cache)

    def ours(self, work: Work, method: str, *extra: str) -> Record:
        """Run `step.py`."""
        return self._run(Path(sys.executable), "step.py", work, "--json", "--method", method, *extra)

    def theirs(self, work: Work, *extra: str) -> Record:
        """Run `trl_side.py` in TRL's environment."""
        return self._run(self.python, "trl_side.py", work, *extra)

    def _run(self, python: Path, script: str, work: Work, *extra: str) -> Record:
        model = model_directory(work.model, self.cache)
        command = [str(python), str(HERE / script), "--model", str(model), "--prompts", str(self.prompts)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([*command, *work.options, *extra], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{script} failed:\n{done.stderr[-4000:]}")
        line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"benchmark"'))
        record: Record = json.loads(line)
        return record


def over_imports(record: Record) -> float | None:
    """Return the peak memory over what the imports take, in MB."""
    peak, imports = record["peak_rss_mb"], record["rss_import_mb"]
    return None if peak is None or imports is None else peak - imports


def over_weights(record: Record) -> float | None:
    """Return the peak memory over imports and base weights, in MB."""
    peak = over_imports(record)
    return None if peak is None else peak - float(record["weights_mb"])


def compare(ours: list[Record], theirs: list[Record]) -> Record:
    """Return TRL's seconds and memory divided by ours, over paired rounds."""
    ratios: Record = {
        phase: spread([b["cpu_s"][phase] / a["cpu_s"][phase] for a, b in zip(ours, theirs, strict=True)])
        for phase in PHASES
    }
    peaks = [(over_imports(a), over_imports(b)) for a, b in zip(ours, theirs, strict=True)]
    known = [(a, b) for a, b in peaks if a is not None and b is not None]
    return ratios | {"memory": spread([b / a for a, b in known]) if known else None}


def run_rounds(
    systems: dict[str, Callable[..., Record]], rounds: int, counted: Collection[str]
) -> dict[str, list[Record]]:
    """Run every system once a round, in alternating order; count the operations of those in `counted`."""
    found: dict[str, list[Record]] = {name: [] for name in systems}
    for number in range(rounds):
        names = list(systems) if number % 2 == 0 else list(reversed(systems))
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            # operations are counted in the first round only: that costs TRL a step, and they are the same in each
            found[name].append(systems[name](*(("--flops",) if number == 0 and name in counted else ())))
    return found


def measure(work: Work, cases: dict[str, Case], runner: Runner, rounds: int) -> list[Record]:
    """Return the records of the cases of some work; they share TRL's runs."""
    systems: dict[str, Callable[..., Record]] = {}
    for method in dict.fromkeys(case.method for case in cases.values()):
        systems[f"creditree {method}"] = partial(runner.ours, work, method)
    for variant in dict.fromkeys(variant for case in cases.values() for variant in case.theirs):
        systems[f"trl {variant}"] = partial(runner.theirs, work, *TRL_VARIANTS[variant])
    counted = [name for name in systems if name.startswith("trl") and work.group * work.tokens <= MOST_COUNTED]
    found = run_rounds(systems, min(rounds, work.most_rounds), counted)
    return [record_of(name, case, found, runner) for name, case in cases.items()]


def record_of(name: str, case: Case, found: dict[str, list[Record]], runner: Runner) -> Record:
    """Return the record of one case: ratios, memory, and the raw rounds."""
    ours = found[f"creditree {case.method}"]
    once: Record = {}
    for variant in case.once:
        if variant in OUR_VARIANTS:
            once[f"creditree {variant}"] = runner.ours(case.work, case.method, *OUR_VARIANTS[variant])
        else:
            once[f"trl {variant}"] = runner.theirs(case.work, *TRL_VARIANTS[variant])
    theirs = {variant: found[f"trl {variant}"] for variant in case.theirs}
    every = {"creditree": ours, **{f"trl {variant}": rounds for variant, rounds in theirs.items()}}
    every |= {system: [record] for system, record in once.items()}
    return {
        "benchmark": "vs_trl",
        "case": name,
        "method": case.method,
        "trl_over_creditree": {variant: compare(ours, rounds) for variant, rounds in theirs.items()},
        "peak_over_imports_mb": {system: peak_of(records, over_imports) for system, records in every.items()},
        "peak_over_imports_and_weights_mb": {
            system: peak_of(records, over_weights) for system, records in every.items()
        },
        "environment": describe_environment(),
        "rounds": {"creditree": ours, **{f"trl {variant}": rounds for variant, rounds in theirs.items()}},
        "once": once,
    }


def peak_of(records: list[Record], measured: Callable[[Record], float | None]) -> dict[str, float] | None:
    """Return the spread of a memory figure; None where the system does not tell."""
    values = [value for record in records if (value := measured(record)) is not None]
    return spread(values) if values else None


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, help="the core to run on; default: the last that is allowed")
    parser.add_argument("--cache", type=Path, default=cache_directory())
    parser.add_argument("--trl-python", type=Path, help="an interpreter that has TRL; default: one made for it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    runner = Runner(options.cache, options.trl_python or trl_python(options.cache))
    if hasattr(os, "sched_setaffinity"):  # the processes that are started inherit it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if options.core is None else options.core})
    chosen = {name: CASES[name] for name in options.case or CASES}
    for work in dict.fromkeys(case.work for case in chosen.values()):
        cases = {name: case for name, case in chosen.items() if case.work == work}
        for record in measure(work, cases, runner, options.rounds):
            options.results.mkdir(parents=True, exist_ok=True)
            path = options.results / f"vs_trl-{record['case']}.json"
            path.write_text(json.dumps(record) + "\n", encoding="utf-8")
            print(
                json.dumps({key: value for key, value in record.items() if key not in ("rounds", "once")}), flush=True
            )


if __name__ == "__main__":
    main()
