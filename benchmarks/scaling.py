"""Training steps by one and by two workers of Ray on this machine, in turn, and what their parts take.

    python benchmarks/scaling.py [--steps 6] [--problems 32] [--group 16]

Both crews make the same steps of GRPO on 3 x 1 digit products with the built-in model (float32, a thread a worker),
alternating (1, 2, 2, 1, ...), so that what else runs on the machine meets both. `wall_s` is what the clock says, and
depends on that; `path_s` does not: it adds up the processor seconds of the busiest worker of each phase, and the
driver's. Prints one JSON line and writes it into benchmarks/results/scaling.json, with the parts that
`scaling_simulation.py` reckons with.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.measure import spread
from creditree.config.load import check_config
from creditree.models.trained import Trained
from creditree.runs.environment import describe_environment
from creditree.scale.cluster import Need, NodeRoom, connected
from creditree.scale.crew import Heard, Order, Reply
from creditree.scale.engine import CrewEngine
from creditree.scale.learner import ShardedLearner
from creditree.scale.ray_crew import RayCrew
from creditree.scale.rollout import CrewHelpers
from creditree.setup.parts import build
from creditree.setup.resolve import Resolved, resolve
from creditree.setup.scaled import training_worker
from creditree.train.loop import Loop

RESULT = Path(__file__).resolve().parent / "results" / "scaling.json"
WARM_UP = 1
"""Steps that are not counted: workers compile and allocate in them."""


def resolved_of(problems: int, group: int) -> Resolved:
    """Return the run whose steps are measured."""
    return resolve(
        check_config(
            {
                "model": {"name": "builtin:multiplication"},
                "task": {"name": "multiplication", "digits_a": 3, "digits_b": 1},
                "method": {"name": "grpo", "group": group},
                "sampling": {"temperature": 0.7, "max_new_tokens": 64},
                "train": {"steps": 1000, "problems_per_step": problems, "threads": 1},
                "evaluation": {"problems": 8},
            },
            "the benchmark",
        )
    )


@dataclass(eq=False)
class Noted:
    """A crew that notes what each order took: by kind, the processor seconds of each."""

    crew: RayCrew
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.crew.size

    @property
    def cpu_s(self) -> float:
        return self.crew.cpu_s

    @property
    def notes(self) -> tuple[str, ...]:
        return self.crew.notes

    def run(self, orders: Sequence[Order], trained: Trained | None, heard: Heard | None = None) -> list[Any]:
        """Pass on, and note."""

        def listened(number: int, reply: Reply) -> None:
            self.seconds.setdefault(orders[number].what, []).append(sum(reply.seconds.cpu.values()))
            if heard is not None:
                heard(number, reply)

        return self.crew.run(orders, trained, listened)

    def close(self) -> None:
        """Pass on."""
        self.crew.close()

    def taken(self) -> dict[str, list[float]]:
        """Return what was noted since the last call."""
        seconds, self.seconds = self.seconds, {}
        return seconds


@dataclass(eq=False)
class Side:
    """A loop with so many workers, and its steps so far."""

    crew: Noted
    loop: Loop
    steps: list[dict[str, Any]] = field(default_factory=list)

    def step(self) -> None:
        """Make a step, and note what it took."""
        wall, cpu = perf_counter(), process_time()
        result = self.loop.step()
        wall, cpu = perf_counter() - wall, process_time() - cpu
        orders = self.crew.taken()
        busiest = {what: _busiest(seconds, self.crew.size) for what, seconds in orders.items()}
        lengths = [len(b.token_ids) for forest in result.explored for tree in forest for b in tree.branches]
        self.steps.append(
            {
                "wall_s": wall,
                "path_s": cpu + sum(busiest.values()),
                "driver_s": cpu,
                "work_s": {what: sum(seconds) for what, seconds in orders.items()},
                "orders": {what: len(seconds) for what, seconds in orders.items()},
                "busiest_s": busiest,
                "sampled": result.cost.sampled,
                "forwarded": result.stats.forwarded,
                "lengths": lengths,
            }
        )


def _busiest(seconds: Sequence[float], workers: int) -> float:
    """Return what the busiest of some workers takes where each takes the next order when it is free."""
    loads = [0.0] * workers
    for own in seconds:
        loads[loads.index(min(loads))] += own
    return max(loads)


def side_of(resolved: Resolved, workers: int, tell: Callable[[str], None]) -> Side:
    """Return a loop with a crew of its own."""
    crew = RayCrew(partial(training_worker, resolved.yaml), workers, Need(), tell)
    parts = build(resolved)
    crew.start({})
    noted = Noted(crew)
    learner = ShardedLearner(parts.learner, noted)
    engine = CrewEngine(noted, parts.model, learner.trained, 512, "cpu")
    scaled = replace(parts, learner=learner, engine=engine, helpers=CrewHelpers(noted))
    return Side(noted, Loop(scaled, resolved.settings))


def round_trip(crew: Noted, times: int = 20) -> float:
    """Return the seconds from an order that asks for nothing to its answer."""
    took = []
    for _ in range(times):
        begun = perf_counter()
        crew.run([Order("judge", ((),))], None)
        took.append(perf_counter() - begun)
    crew.taken()
    return statistics.median(took)


def record_of(sides: dict[int, Side], problems: int, group: int, trip_s: float) -> dict[str, Any]:
    """Return all that was measured."""
    steps = {workers: side.steps[WARM_UP:] for workers, side in sides.items()}
    pairs = list(zip(steps[1], steps[2], strict=True))
    trained = sides[1].loop.parts.learner.trained
    weights = sum(matrix.numel() * matrix.element_size() for matrix in trained.matrices)
    every = [step for own in steps.values() for step in own]
    lengths = np.concatenate([step["lengths"] for step in steps[1]])
    return {
        "benchmark": "scaling",
        "model": "builtin:multiplication",
        "problems": problems,
        "group": group,
        "steps": len(pairs),
        "same_adapter": max(
            float((own.detach() - other.detach()).abs().max())
            for own, other in zip(*(side.loop.parts.learner.matrices for side in sides.values()), strict=True)
        ),
        "speedup": {
            "wall": spread([one["wall_s"] / two["wall_s"] for one, two in pairs]),
            "path": spread([one["path_s"] / two["path_s"] for one, two in pairs]),
        },
        "by_workers": {
            str(workers): {name: spread([step[name] for step in own]) for name in ("wall_s", "path_s", "driver_s")}
            for workers, own in steps.items()
        },
        "parts": {
            "explore_s_per_token": statistics.median(s["work_s"]["explore"] / s["sampled"] for s in every),
            "learn_s_per_token": statistics.median(
                s["work_s"]["gradient"] / s["forwarded"] for s in every if s["forwarded"]
            ),
            "driver_s_per_problem": statistics.median(s["driver_s"] / problems for s in steps[1]),
            "round_trip_s": trip_s,
            "weights_bytes": weights,
            "forwarded_per_sampled": statistics.median(s["forwarded"] / s["sampled"] for s in every),
        },
        "lengths": lengths.tolist(),
        "raw": {str(w): [{k: v for k, v in s.items() if k != "lengths"} for s in own] for w, own in steps.items()},
        "environment": describe_environment(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--group", type=int, default=16)
    arguments = parser.parse_args()
    resolved = resolved_of(arguments.problems, arguments.group)
    with ExitStack() as stack:
        stack.enter_context(connected(NodeRoom("this machine", 3)))
        sides = {workers: side_of(resolved, workers, lambda sentence: None) for workers in (1, 2)}
        for side in sides.values():
            stack.callback(side.crew.close)
        for number in range(WARM_UP + arguments.steps):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                sides[workers].step()
        record = record_of(sides, arguments.problems, arguments.group, round_trip(sides[1].crew))
    line = json.dumps(record)
    RESULT.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
