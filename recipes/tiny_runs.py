"""Run tiny twins: every cell and seed once, raw results in a folder; what is already there is not run again."""

import argparse
import json
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import yaml

from recipes.cell import Cell

MARKS = (2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)


def result_file(results: Path, cell: Cell, seed: int) -> Path:
    """Where the raw result of a cell and a seed lies."""
    return results / cell.table / f"{cell.file}--seed{seed}.json"


def configuration(cell: Cell, seed: int) -> dict[str, Any]:
    """Return the configuration of a cell as nested values."""
    values: dict[str, Any] = {"seed": seed, "train": {"steps": 1_000_000, "cpu_seconds": cell.cpu_seconds or None}}
    for name, value in cell.keys:
        *blocks, last = name.split(".")
        place = values
        for block in blocks:
            place = place.setdefault(block, {})
        place[last] = value
    return values


def run_cell(cell: Cell, seed: int) -> dict[str, Any]:
    """Train one cell in this process, and return its curve and its final accuracies."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    from creditree.config.load import check_config
    from creditree.engines.engine import Sampling
    from creditree.evaluate.examiner import Examiner
    from creditree.rng import Key
    from creditree.runs.metrics import plain
    from creditree.setup.parts import build
    from creditree.setup.resolve import resolve
    from creditree.tasks.split import Split
    from creditree.train.loop import Loop

    config = check_config(configuration(cell, seed), cell.name)
    ready = resolve(config)
    settings, parts = ready.settings, build(ready)
    split: Split = "validation" if cell.table.startswith("tuning") else "test"
    problems = parts.task.held_out(split, 300)
    examiner = Examiner(
        parts.model, parts.engine, parts.verifier, parts.task.prompt, settings.max_new_tokens, Key.of(7)
    )
    loop = Loop(parts, settings)
    useful: list[float] = []
    selected: list[float] = []
    chosen: dict[str, float] = {}

    def measure(temperatures: tuple[float, ...], count: int) -> dict[str, float]:
        return {f"T={t:g}": examiner.evaluate(problems[:count], Sampling(t)).accuracy or 0.0 for t in temperatures}

    def used() -> float:
        return sum(loop.state.seconds.cpu.values())

    def point() -> dict[str, Any]:
        state = loop.state
        spent = {"cpu_s_by_phase": dict(state.seconds.cpu)}
        counts = {"cpu_s": used(), "step": state.step, **state.ledger.as_dict(), **spent}
        shown = {"useful_share": float(np.mean(useful)), "schedule": loop.pipeline.state}
        shown |= {"selected_share": float(np.mean(selected)), "chosen": plain(chosen)}
        return counts | shown | {"accuracy": measure((0.0, 0.3), 200) if cell.curve else {}}

    if cell.cpu_seconds == 0:
        return {"base": measure((0.0, 0.3, 1.0), 300), "first_200": measure((0.0, 0.3), 200)}
    curve = []
    marks = [mark for mark in MARKS if mark < cell.cpu_seconds] if cell.curve else []
    while used() < cell.cpu_seconds:
        result = loop.step()
        useful.append(result.useful_share)
        selected.append(result.selected_share)
        chosen = dict(result.chosen)
        if marks and used() >= marks[0]:
            marks.pop(0)
            curve.append(point())
    curve.append(point())
    return {"final": measure((0.0, 0.3, 1.0), 300), "curve": curve}


def write_record(path: Path, cell: Cell, seed: int, measured: dict[str, Any]) -> None:
    """Write the raw result of a cell and a seed, with its whole configuration and what it was made with."""
    from creditree.config.load import check_config, dump_config
    from creditree.runs.environment import describe_environment

    record = {
        "table": cell.table,
        "name": cell.name,
        "seed": seed,
        **measured,
        "config": yaml.safe_load(dump_config(check_config(configuration(cell, seed), cell.name))),
        "environment": describe_environment(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def run_all(cells: Sequence[Cell], results: Path) -> None:
    """Run what is missing of some cells, as the command line says; `results` is where it lies by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cells whose table or name holds this text")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side, one core each")
    parser.add_argument("--out", type=Path, default=results, help="folder of the raw results; a new one runs all anew")
    parser.add_argument("--dry-run", action="store_true", help="list what would run")
    options = parser.parse_args()
    wanted = [
        (cell, seed)
        for cell in cells
        for seed in cell.seeds
        if options.only in cell.file and not result_file(options.out, cell, seed).exists()
    ]
    # One seed after the other, cells in a fixed shuffled order: a busy spell of the machine hits no method more.
    wanted.sort(key=lambda job: (job[1], blake2b(job[0].file.encode()).digest()))
    print(
        f"{len(wanted)} runs, {sum(cell.cpu_seconds for cell, _ in wanted) / 60:.0f} CPU minutes of training",
        flush=True,
    )
    if options.dry_run:
        for cell, seed in wanted:
            print(f"  {cell.file} seed {seed}")
        return
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(partial(_outcome, options.out), wanted):
            print(line, flush=True)


def _outcome(results: Path, job: tuple[Cell, int]) -> str:
    cell, seed = job
    started = time()
    try:
        write_record(result_file(results, cell, seed), cell, seed, run_cell(cell, seed))
    except Exception as error:
        return f"{cell.file} seed {seed}: failed: {type(error).__name__}: {error}"
    return f"{cell.file} seed {seed}: done in {time() - started:.0f} s"
