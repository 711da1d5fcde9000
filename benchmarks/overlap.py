"""One step off-policy with a vLLM server: how much of sampling is hidden behind learning.

The server has one core, this process another, as two machines would. Steps of GRPO with clipped ratios on the built-in
word problems are made in turn with the samples of the next step begun ahead (`on`) and waited for (`off`), after a
first step that fills the pipeline and one of each kind that is not counted. Prints one JSON line: seconds of each step,
and medians; `saved`: the share of a step's time that is saved, the median of pairs; `hidden`: of the seconds that a
step without overlap waits for samples, those that a step with it does not; `tokens_beside`: tokens that the server read
or drew while an update was made, by its own counter: two processes are busy at once.

    python benchmarks/overlap.py --python .venv-vllm/bin/python [--model DIRECTORY] [--pairs 5] [--cores 0 1]
"""

import argparse
import json
import os
import re
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import urllib3

from creditree.batch import Batch
from creditree.config.load import parse_config
from creditree.engines.engine import Engine
from creditree.engines.vllm.client import KEY
from creditree.engines.vllm.command import OwnSpec
from creditree.engines.vllm.own import OwnServer
from creditree.learner.learner import Learner
from creditree.learner.stats import StepStats
from creditree.models.load import load_model
from creditree.rng import Key
from creditree.runs.environment import describe_environment
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
engine: {{name: vllm, url: "{url}"}}
train: {{steps: 1000, problems_per_step: {problems}, learning_rate: 1e-3, threads: 1}}
evaluation: {{problems: 8, temperatures: [0]}}
"""


class Counted(Learner):
    """A learner that asks the server how many tokens it read or drew while an update was made."""

    def __init__(self, learner: Learner, url: str) -> None:
        super().__init__(learner.trained, learner.objective, learner.spec, engine_differs=learner.engine_differs)
        self._url = url
        self.drawn = 0

    def step(self, batch: Batch, key: Key, learning_rate: float | None = None, *, at_old: bool = False) -> StepStats:
        """Make the step, and count."""
        before = self._total()
        stats = super().step(batch, key, learning_rate, at_old=at_old)
        self.drawn += self._total() - before
        return stats

    def _total(self) -> int:
        told = urllib3.request("GET", f"{self._url}/metrics").data.decode()
        return int(
            sum(map(float, re.findall(r"^vllm:(?:prompt|generation)_tokens_total\{.*\} (\S+)$", told, re.MULTILINE)))
        )


def keep_apart(own_core: int, their_core: int) -> None:
    """Give this process one core, and all that it has started another."""
    own = psutil.Process()
    for process, core in ((own, own_core), *((other, their_core) for other in own.children(recursive=True))):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})


def steps_of(loop: Loop, engine: Engine, pairs: int, learner: Counted) -> dict[str, list[dict[str, float]]]:
    """Return the seconds of steps with and without overlap, in turn."""
    rollouts = {"on": loop.rollout, "off": replace(loop.rollout, engine=Waited(engine))}
    found: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
    loop.step()
    for number in range(2 * (pairs + 1)):
        kind = ("on", "off")[number % 2]
        loop.pipeline.rollout = rollouts[kind]
        before, drawn, begun = dict(loop.state.seconds.wall), learner.drawn, perf_counter()
        loop.step()
        seconds = {"step": perf_counter() - begun, "tokens_beside": float(learner.drawn - drawn)}
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
    told = partial(print, file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        directory = arguments.model or _built_in(Path(folder))
        server = OwnServer(OwnSpec(arguments.python, directory, "bfloat16", "cpu", 1, arguments.cores[1], rank=8), told)
        os.environ[KEY] = server.key
        sizes = {"problems": arguments.problems, "group": arguments.group}
        ready = resolve(parse_config(RUN.format(model=directory, url=server.url, **sizes), "run.yaml"))
        parts = build(ready)
        learner = Counted(parts.learner, server.url)
        keep_apart(*map(int, arguments.cores))
        try:
            with closing(parts.verifier):
                loop = Loop(replace(parts, learner=learner), ready.settings)
                seconds = steps_of(loop, parts.engine, arguments.pairs, learner)
        finally:
            parts.engine.close()
            server.stop()
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
    pairs = [round(1 - a["step"] / b["step"], 3) for a, b in zip(seconds["on"], seconds["off"], strict=True)]
    return {
        "benchmark": "overlap",
        "model": arguments.model and Path(arguments.model).name,
        "completions": arguments.problems * arguments.group,
        "medians": medians,
        "saved": round(median(pairs), 3),
        "saved_range": [min(pairs), max(pairs)],
        "hidden": round(off["sample"] - on["sample"], 3),
        "steps": seconds,
        "load": [round(value, 1) for value in os.getloadavg()],
        "environment": describe_environment(),
    }


if __name__ == "__main__":
    main()
