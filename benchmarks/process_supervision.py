"""What a step of AttnRL costs, and what its pieces save: pipeline, influence, packing.

    python benchmarks/process_supervision.py [--rounds 5] [--steps 6] [--save]

On the built-in model of long multiplication, one thread, alternating rounds:
- `pipeline`: CPU seconds of a step with the first round of the next problems beside the branches of these, against a
  step that makes two engine calls;
- `influence`: a step by a pass over completions, by the attention of decoding, and without any (branches at random);
- `packing`: the update with every token of a tree forwarded once, against one row for each leaf: tokens and seconds.
Prints one JSON line; with --save it is written into benchmarks/results/process_supervision.json.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.measure import spread
from creditree.batch import Batch, pack
from creditree.config.schema import RunConfig
from creditree.fields import TokenField, trained_leaves
from creditree.learner.learner import Learner
from creditree.ledger import Seconds
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.train.loop import Loop
from creditree.train.pipeline import Pipeline
from creditree.train.settings import Parts
from creditree.tree import Branch, FloatArray, Forest, RolloutTree

RESULTS = Path(__file__).resolve().parent / "results"
PROBLEMS = 8
ATTENTION: dict[str, Any] = {
    "name": "attnrl", "kl": 0.0, "min_gap": 6, "delta": 2, "expansion": "all", "schedule": "fixed", "off_policy": False
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "two calls": ATTENTION,
    "one call": ATTENTION | {"off_policy": True},
    "decoding": ATTENTION | {"influence_source": "decoding"},
    "no influence": {"name": "treerl", "kl": 0.0, "explore": "random_branching", "unit": "step"},
}


@dataclass
class System:
    """A method on the model, stepping without learning, so that every round does the same kind of work."""

    parts: Parts
    pipeline: Pipeline
    number: int = 0

    @classmethod
    def of(cls, method: dict[str, Any]) -> "System":
        """Load the model and make the pipeline."""
        config = RunConfig.model_validate(
            {
                "model": "builtin:long_multiplication",
                "task": {"name": "multiplication", "digits_a": 8, "digits_b": 1, "num_held_out": 2},
                "method": method,
                "sampling": {"temperature": 1.0, "max_new_tokens": 96},
                "train": {"problems_per_step": PROBLEMS, "threads": 1},
                "evaluation": {"problems": 1},
            }
        )
        ready = resolve(config)
        parts = build(ready)
        found = cls(parts, Loop(parts, ready.settings).pipeline)
        found.step()
        return found

    def step(self) -> list[Forest]:
        """Sample one step's problems."""
        explored = self.pipeline.step(self.number, Seconds())
        self.pipeline.learned(1)
        self.number += 1
        return [one.forest for one in explored.live]


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    started = process_time()
    work()
    return process_time() - started


def alternating(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each, every other round in the opposite order."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for index in range(rounds):
        for name in work if index % 2 == 0 else reversed(work):
            found[name].append(cpu(work[name]))
    return found


def steps_of(system: System, count: int) -> Callable[[], object]:
    """Return the work of some steps."""
    return lambda: [system.step() for _ in range(count)]


def ratio(over: list[float], under: list[float]) -> dict[str, float]:
    """Return the spread of paired ratios."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def credited(system: System, forests: list[Forest]) -> tuple[Batch, Batch]:
    """Return the batch of a step with every token once, and that with one row for each leaf."""
    method, learner = system.parts.method, system.parts.learner
    advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
    weights = [method.select.weigh(forest, field, Key.of(1)) for forest, field in zip(forests, advantages, strict=True)]
    total = method.select.normaliser(forests, advantages)
    keep = learner.keep_zero_advantage
    merged = pack(forests, advantages, weights, keep_zero_advantage=keep, normaliser=total)
    rows = [row for forest, field in zip(forests, advantages, strict=True) for row in rows_of(forest, field)]
    return merged, pack(
        [(tree,) for tree, _, _ in rows],
        [((a,),) for _, a, _ in rows],
        [((w,),) for _, _, w in rows],
        keep_zero_advantage=keep,
        normaliser=total,
    )


def rows_of(forest: Forest, advantages: tuple[TokenField, ...]) -> list[tuple[RolloutTree, FloatArray, FloatArray]]:
    """Return every trained leaf as a tree of its own, with its path's advantages and weights of 1."""
    found = []
    for tree, field in zip(forest, advantages, strict=True):
        for leaf in trained_leaves(tree, field):
            path, own = tree.path(leaf), tree.branches[leaf]
            pieces = [(tree.branches[index], field[index], stop) for index, stop in path]
            values = torch.cat([torch.from_numpy(a[:stop]) for _, a, stop in pieces if a is not None]).numpy()
            logprobs = torch.cat([torch.from_numpy(b.logprobs[:stop]) for b, _, stop in pieces]).numpy()
            branch = Branch(None, 0, tree.completion(leaf), logprobs, logprobs, own.finish_reason, own.verdict)
            alone = RolloutTree(tree.problem, tree.prompt_ids).grown(branch)
            found.append((alone, values, torch.ones(len(values), dtype=torch.float64).numpy()))
    return found


def packing(system: System, rounds: int) -> dict[str, Any]:
    """Compare the gradient of one step's trees, packed and row by row: the same loss, fewer tokens."""
    merged, apart = credited(system, system.step())
    learner: Learner = system.parts.learner
    learner.trunk_store = None  # for both alike
    work = {"tree": merged, "rows": apart}
    seconds = alternating({name: lambda b=b: learner.gradient(b, Key.of(2)) for name, b in work.items()}, rounds)  # type: ignore[misc]
    losses = {name: learner.loss(batch) for name, batch in work.items()}
    return {
        "tokens_forwarded": {name: batch.num_tokens for name, batch in work.items()},
        "loss_terms": {name: batch.num_terms for name, batch in work.items()},
        "loss": losses,
        "rows_over_tree": ratio(seconds["rows"], seconds["tree"]),
        "cpu_s": seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    systems = {name: System.of(method) for name, method in VARIANTS.items()}
    seconds = alternating({name: steps_of(one, options.steps) for name, one in systems.items()}, options.rounds)
    record = {
        "benchmark": "process_supervision",
        "rounds": options.rounds,
        "steps": options.steps,
        "problems": PROBLEMS,
        "two_calls_over_one": ratio(seconds["two calls"], seconds["one call"]),
        "influence_share": {
            name: spread([1 - b / a for a, b in zip(seconds[with_it], seconds["no influence"], strict=True)])
            for name, with_it in (("pass", "two calls"), ("decoding", "decoding"))
        },
        "packing": packing(systems["two calls"], options.rounds),
        "cpu_s": seconds,
        "environment": describe_environment(),
    }
    line = json.dumps(record)
    print(line)
    if options.save:
        (RESULTS / "process_supervision.json").write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
