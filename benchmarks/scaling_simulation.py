"""What a training step takes on 2 to 256 workers, reckoned from the parts that `scaling.py` has measured.

    python benchmarks/scaling_simulation.py

A step is played through: problems with completion lengths drawn from those measured go into a queue by the program's
own rule (`pieces_of`), workers of different speed take the next piece when they are free, the batch is dealt in shards,
gradients come back to the driver one after the other, it adds them, steps, and sends the weights out.

Assumptions, all of them: a piece takes (tokens of its completions) x (seconds a token as measured on one worker), which
holds above `GOOD_ROWS` completions; a worker is slower than the measured one by exp(N(0, 0.05^2)), and one in a hundred
pieces falls on a worker that is twice as slow at the time; the driver's link carries 1.25 GB/s (10 Gbit/s) and each
order costs the measured round trip; the driver adds 4 GB/s of gradients; credit,
selection and packing stay on the driver and grow with the problems of a step. `adapter_mb` is varied: the built-in
model's is tiny, rank 16 on all layers of a 1.5B model has about 40 MB in float32.
Prints one JSON line and writes it into benchmarks/results/scaling_simulation.json.
"""

import heapq
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.scaling import RESULT as MEASURED
from creditree.scale.engine import GOOD_ROWS
from creditree.scale.shards import pieces_of

RESULT = MEASURED.with_name("scaling_simulation.json")
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LINK, ADDS = 1.25e9, 4e9
"""Bytes a second: of the driver's link, and of gradients that it adds."""
SPREAD, SLOW, SLOW_SHARE = 0.05, 2.0, 0.01
REPEATS = 20
GOOD = 0.5
"""Efficiency below which more workers are a waste."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is scaled: problems of a step, or of each worker; seconds a token by a larger model; MB of the adapter."""

    name: str
    problems: int
    by_worker: bool
    slower: float
    adapter_mb: float


CASES = (
    Case("as measured, 32 problems", 32, False, 1.0, 0.02),
    Case("as measured, 16 problems a worker", 16, True, 1.0, 0.02),
    Case("1.5B, 256 problems", 256, False, 300.0, 40.0),
    Case("1.5B, 8 problems a worker", 8, True, 300.0, 40.0),
)
"""1.5B: a token takes 300 times as long as with the built-in model on the same core. Assumed, not measured."""


def step_parts(
    case: Case, workers: int, parts: dict[str, float], lengths: np.ndarray[Any, Any], group: int, seed: int
) -> dict[str, float]:
    """Return the seconds of each part of a step."""
    rng = np.random.default_rng(seed)
    problems = case.problems * (workers if case.by_worker else 1)
    tokens = rng.choice(lengths, size=(problems, group)).sum(axis=1)
    speed = np.exp(rng.normal(0.0, SPREAD, size=workers))

    def took(work: float, worker: int) -> float:
        return work * float(speed[worker]) * (SLOW if workers > 1 and rng.random() < SLOW_SHARE else 1.0)

    rows = [group] * problems
    pieces = pieces_of([group] * problems, rows, workers, GOOD_ROWS["cpu"])
    per_token = case.slower * parts["explore_s_per_token"]
    free = [(0.0, worker) for worker in range(workers)]
    ends = []
    for piece in pieces:
        at, worker = heapq.heappop(free)
        end = at + took(float(tokens[piece].sum()) * per_token, worker) + parts["round_trip_s"]
        ends.append(end)
        heapq.heappush(free, (end, worker))
    forwarded = float(tokens.sum()) * parts["forwarded_per_sampled"]
    shard = forwarded / workers * case.slower * parts["learn_s_per_token"]
    moved = workers * case.adapter_mb * 1e6
    return {
        "sample": max(ends),
        "learn": max(took(shard, worker) for worker in range(workers)) + parts["round_trip_s"],
        "gradients": moved / LINK + moved / ADDS,
        "weights": moved / LINK,
        "driver": problems * parts["driver_s_per_problem"],
    }


def curve(case: Case, parts: dict[str, float], lengths: np.ndarray[Any, Any], group: int) -> list[dict[str, Any]]:
    """Return seconds, speed-up and efficiency by the number of workers, and which part keeps the most from it."""
    rows: list[dict[str, Any]] = []
    for workers in WORKERS:
        played = [step_parts(case, workers, parts, lengths, group, seed) for seed in range(REPEATS)]
        mean = {name: statistics.mean(own[name] for own in played) for name in played[0]}
        total = sum(mean.values())
        problems = case.problems * (workers if case.by_worker else 1)
        pace = problems / total
        alone = rows[0]["problems_per_s"] if rows else pace
        ideal = {"sample", "learn"}
        first = rows[0]["seconds"] if rows else mean
        share = problems / (rows[0]["problems"] if rows else problems) / workers
        lost = {name: mean[name] - (first[name] * share if name in ideal else 0.0) for name in mean}
        rows.append(
            {
                "workers": workers,
                "problems": problems,
                "seconds": mean,
                "step_s": total,
                "problems_per_s": pace,
                "speedup": pace / alone,
                "efficiency": pace / alone / workers,
                "most_lost_to": max(lost, key=lambda name: lost[name]),
            }
        )
    return rows


def main() -> None:
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    lengths = np.array(measured["lengths"])
    curves = {case.name: curve(case, measured["parts"], lengths, measured["group"]) for case in CASES}
    breaks = {
        name: next(
            ({"workers": row["workers"], "by": row["most_lost_to"]} for row in rows if row["efficiency"] < GOOD), None
        )
        for name, rows in curves.items()
    }
    two = next(row for row in curves[CASES[0].name] if row["workers"] == 2)
    record = {
        "benchmark": "scaling_simulation",
        "check": {"simulated_speedup_of_2": two["speedup"], "measured_path": measured["speedup"]["path"]["median"]},
        "breaks": breaks,
        "curves": curves,
        "lengths": {"mean": float(lengths.mean()), "max": int(lengths.max()), "of": len(lengths)},
        "parts": measured["parts"],
    }
    line = json.dumps(record)
    RESULT.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
