"""Where the time of a training step on the GPU goes: phases, then kernels and host functions.

    PYTHONPATH=src:. python benchmarks/gpu_profile_step.py [--method grpo t-spmo] [--group 16] [--problems 8]

Of each method three steps of `step.py`'s work after one that warms up: the first with a clock alone (wall seconds by
phase), the second with torch's profiler in its update (of each kernel its launches and milliseconds, the most expensive
first; their sum, and what the update took with the profiler), the third with Python's profiler (host seconds by
function, their callees included). The step that the profilers watch is slower than one alone.
"""

import cProfile
import pstats
import sys
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.gpu_record import parser_of, write
from benchmarks.gpu_steps import write_prompts
from benchmarks.step import Bench
from creditree.batch import Batch
from creditree.learner.learner import Learner
from creditree.learner.stats import StepStats
from creditree.rng import Key

NAME_WIDTH = 100
MOST_LINES = 45


class TracedLearner:
    """A learner whose optimiser step is traced by torch's profiler."""

    def __init__(self, learner: Learner, device: str) -> None:
        self._learner, self._device = learner, device
        self.seconds = 0.0
        self.events: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)

    def step(self, batch: Batch, key: Key, learning_rate: float, *, at_old: bool = False) -> StepStats:
        """Make one optimiser step."""
        activities = [ProfilerActivity.CPU] if self._device == "cpu" else [ProfilerActivity.CUDA]
        began = perf_counter()
        with profile(activities=activities) as traced:
            stats = self._learner.step(batch, key, learning_rate, at_old=at_old)
            if self._device != "cpu":
                torch.cuda.synchronize()
            self.seconds = perf_counter() - began
        self.events = traced.key_averages()
        return stats


def kernels_of(events: Any, device: str) -> dict[str, list[float]]:
    """Return launches and milliseconds of each kernel (on a CPU: of each operation), the most expensive first."""
    key = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    found: dict[str, list[float]] = {}
    for event in events:
        name = event.key[:NAME_WIDTH]  # several kernels may share so much of their names
        count, ms = found.get(name, (0, 0.0))
        found[name] = [count + event.count, round(ms + getattr(event, key) / 1000, 3)]
    return {name: one for name, one in sorted(found.items(), key=lambda item: -item[1][1]) if one[1] > 0}


def functions_of(profiler: cProfile.Profile) -> dict[str, list[float]]:
    """Return calls, own and whole seconds of the host's functions, those first that take longest with their callees."""
    stats: Any = pstats.Stats(profiler)
    found = {}
    for (file, line, name), (_, calls, own, whole, _) in sorted(stats.stats.items(), key=lambda item: -item[1][3]):
        found[f"{Path(file).name}:{line} {name}"] = [calls, round(own, 4), round(whole, 4)]
    return dict(list(found.items())[: 2 * MOST_LINES])


def profiled(options: Namespace) -> dict[str, Any]:
    """Return what the steps of a method showed."""
    bench = Bench.load(options)
    bench.step()
    bench.step()
    found: dict[str, Any] = {"step_s": bench.clock.steps[-1][1], "phases_s": dict(bench.loop.state.seconds.wall)}
    learner: Any = bench.parts.learner
    traced: Any = TracedLearner(learner, options.device)
    bench.loop.parts = replace(bench.parts, learner=traced)
    bench.step()
    kernels = kernels_of(traced.events, options.device)
    found |= {"traced_update_s": traced.seconds, "kernels_ms": sum(ms for _, ms in kernels.values())}
    found |= {
        "launches": sum(count for count, _ in kernels.values()),
        "kernels": dict(list(kernels.items())[:MOST_LINES]),
    }
    bench.loop.parts = replace(bench.parts, learner=learner)
    profiler = cProfile.Profile()
    profiler.enable()
    bench.step()
    profiler.disable()
    return found | {"functions": functions_of(profiler)}


def main() -> None:
    """Profile and write what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="random:qwen2.5-0.5b")
    parser.add_argument("--method", nargs="+", default=["grpo", "t-spmo"])
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=100)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    fixed = {"replays": 0, "temperature": 1.0, "micro_batch_tokens": None, "memory": None, "threads": 1, "seed": 0}
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.txt"
        write_prompts(prompts, options.prompt_tokens)
        for method in options.method:
            found = profiled(Namespace(**{**vars(options), **fixed, "method": method, "prompts": prompts}))
            write(f"profile step {method}", found, options.device, options.out, quiet=True)
            show(method, found)


def show(method: str, found: dict[str, Any]) -> None:
    """Print what matters."""
    phases = ", ".join(f"{name} {seconds:.3f}" for name, seconds in found["phases_s"].items())
    print(f"{method}: {found['step_s']} by phase: {phases}")
    print(f"update traced {found['traced_update_s']:.3f} s, {found['launches']} kernels, {found['kernels_ms']:.0f} ms")
    for name, (count, ms) in list(found["kernels"].items())[:25]:
        print(f"  {ms:9.2f} ms {count:7d} x {name}")
    for name, (calls, own, whole) in list(found["functions"].items())[:60]:
        print(f"  {whole:7.3f} s, own {own:6.3f} {calls:7d} x {name}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
