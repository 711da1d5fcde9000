"""One step off-policy with a vLLM server: how much of sampling is hidden behind learning.

The server has one core, this process another, as two machines would. Steps of GRPO with clipped ratios on the built-in
word problems are made in turn with the samples of the next step begun ahead (`on`) and waited for (`off`), after a
first step that fills the pipeline and one of each kind that is not counted. Prints one JSON line: seconds of each step,
and medians; `saved`: the share of a step's time that is saved. `hidden`: of the seconds that a step without overlap
waits for samples, those that a step with it does not. `busy`: processor seconds of this process and of the server by
second of a step, medians: both work at once where they add up to more than 1.

    python benchmarks/overlap.py --python .venv-vllm/bin/python [--model DIRECTORY] [--pairs 5] [--cores 0 1]
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil

from creditree.config.load import parse_config
from creditree.engines.engine import Engine
from creditree.models.load import load_model
from creditree.runs.environment import describe_environment
from creditree.setup.engine import Surroundings
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.train.loop import Loop
from creditree.verify.verifier import closing
from tests.waited import Waited

RUN = """
model: {{name: "{model}", dtype: bfloat16}}
task: {{name: word_problems, num_held_out: 20}}
method: {{name: grpo, objective: clipped, group: {group}, kl: 0, off_policy: true, sampler_correction: token}}
lora: {{layers: 1.0}}
sampling: {{temperature: 1.0, max_new_tokens: 64}}
engine: {{name: vllm, start: {{python: "{python}"}}}}
train: {{steps: 1000, problems_per_step: {problems}, learning_rate: 1e-3, threads: 1}}
evaluation: {{problems: 8, temperatures: [0]}}
"""


class Processor:
    """Processor seconds of this process and of those that it has started, which all run on a core of their own."""

    def __init__(self, own_core: int, their_core: int) -> None:
        self._own = psutil.Process()
        self._others = self._own.children(recursive=True)
        for process, core in ((self._own, own_core), *((other, their_core) for other in self._others)):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {core})

    def seconds(self) -> tuple[float, float]:
        """Return what this process has used, and what the others have."""
        times = [process.cpu_times() for process in (self._own, *self._others)]
        used = [time.user + time.system for time in times]
        return used[0], sum(used[1:])


def steps_of(loop: Loop, engine: Engine, pairs: int, processor: Processor) -> dict[str, list[dict[str, float]]]:
    """Return the seconds of steps with and without overlap, in turn."""
    rollouts = {"on": loop.rollout, "off": replace(loop.rollout, engine=Waited(engine))}
    found: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
    loop.step()
    for number in range(2 * (pairs + 1)):
        kind = ("on", "off")[number % 2]
        loop.pipeline.rollout = rollouts[kind]
        before, used, begun = dict(loop.state.seconds.wall), processor.seconds(), perf_counter()
        loop.step()
        step, now = perf_counter() - begun, processor.seconds()
        seconds = {"step": step, "learner_busy": (now[0] - used[0]) / step, "server_busy": (now[1] - used[1]) / step}
        for phase in ("sample", "learn"):
            seconds[phase] = loop.state.seconds.wall.get(phase, 0.0) - before.get(phase, 0.0)
        print(kind, seconds, file=sys.stderr)
        if number >= 2:
            found[kind].append({name: round(value, 3) for name, value in seconds.items()})
    return found


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter that has vLLM")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cores", nargs=2, default=["0", "1"], help="of this process, and of the server")
    parser.add_argument("--model", help="directory of another model than the built-in one")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    arguments = parser.parse_args()
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = arguments.cores[1]
    with tempfile.TemporaryDirectory() as folder:
        directory = arguments.model or _built_in(Path(folder))
        text = RUN.format(model=directory, python=arguments.python, problems=arguments.problems, group=arguments.group)
        ready = resolve(parse_config(text, "run.yaml"))
        told = partial(print, file=sys.stderr)
        parts = build(ready, Surroundings(Path(folder) / "server.log", told))
        try:
            with closing(parts.verifier):
                loop, processor = Loop(parts, ready.settings), Processor(*map(int, arguments.cores))
                seconds = steps_of(loop, parts.engine, arguments.pairs, processor)
        finally:
            parts.engine.close()
    print(json.dumps(_line(seconds, arguments)))


def _built_in(folder: Path) -> str:
    """Save the built-in model of word problems to a folder; return its path."""
    model = load_model("builtin:word_problems")
    model.network.model.save_pretrained(str(folder))
    model.tokenizer.save_pretrained(str(folder))
    return str(folder)


def _line(seconds: dict[str, list[dict[str, float]]], arguments: argparse.Namespace) -> dict[str, Any]:
    medians = {
        kind: {name: round(median(step[name] for step in steps), 3) for name in steps[0]}
        for kind, steps in seconds.items()
    }
    on, off = medians["on"], medians["off"]
    return {
        "benchmark": "overlap",
        "model": arguments.model and Path(arguments.model).name,
        "completions": arguments.problems * arguments.group,
        "medians": medians,
        "saved": round(1 - on["step"] / off["step"], 3),
        "hidden": round(off["sample"] - on["sample"], 3),
        "busy": {kind: round(own["learner_busy"] + own["server_busy"], 2) for kind, own in medians.items()},
        "steps": seconds,
        "load": [round(value, 1) for value in os.getloadavg()],
        "environment": describe_environment(),
    }


if __name__ == "__main__":
    main()
