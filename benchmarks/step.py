"""Training steps of one method on one model, measured: CPU and wall seconds, counted work, memory.

    python benchmarks/step.py --model DIR --method grpo --group 8 --max-new-tokens 64 --prompts FILE --json

`--model` also takes `random:qwen2-1.5b` and other public shapes: random weights, nothing downloaded. The prompts file
has one prompt a line; `--problems` prompts are one update. The method is as its paper has it, except that nothing is
measured that TRL's defaults would not do: no KL penalty, no replay (`--replays` brings it back), and the loss at the
temperature of sampling. `update` is credit, packing, forward, backward and optimiser; `credit` is what it does before
any tensor. `flops` and `logit_positions` (where the loss needs logits) are those of one update more; operations are
counted on a CPU only, since a counter cannot look into compiled attention.
"""

import argparse
import json
import statistics
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.measure import Clock, peak_resident_mb, read_prompts, reset_peak, resident_mb, reward_of
from creditree.batch import Batch
from creditree.config.schema import RunConfig
from creditree.learner.learner import Learner
from creditree.learner.stats import StepStats
from creditree.ledger import Ledger, Seconds
from creditree.methods import METHODS
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.tasks.split import Split
from creditree.tasks.task import PromptTemplate, Task
from creditree.train.loop import Loop
from creditree.train.settings import Parts
from creditree.verify.reward_function import RewardFunction

LEARNING_RATE = 1e-6  # TRL's default


class CountedLearner:
    """A learner that keeps the batch of its step, and counts its operations, which slows it down, and its logits.

    `counter`: None where operations cannot be counted, or need not be.
    """

    def __init__(self, learner: Learner, counter: FlopCounterMode | None) -> None:
        self.learner = learner
        self.counter = counter
        self.logit_positions = 0
        self.batch: Batch | None = None

    @property
    def keep_zero_advantage(self) -> bool:
        """What the learner says."""
        return self.learner.keep_zero_advantage

    def with_old_logprobs(self, batch: Batch) -> Batch:
        """Return what the learner does."""
        return self.learner.with_old_logprobs(batch)

    def step(self, batch: Batch, key: Key, learning_rate: float, *, at_old: bool = False) -> StepStats:
        """Make one optimiser step."""
        self.batch, self.logit_positions = batch, len(set(batch.row.tolist()))
        with self.counter or nullcontext():
            return self.learner.step(batch, key, learning_rate, at_old=at_old)


def rewards(completions: list[str]) -> list[float]:
    """Return the fixed hash of each text."""
    return [reward_of(text) for text in completions]


def config_of(options: argparse.Namespace) -> RunConfig:
    """Return the run that is measured: TRL's defaults where both have the setting.

    The task is a stand-in, because a configuration needs one: the problems are those of the prompts file.
    """
    method: dict[str, Any] = {"name": options.method, "group": options.group, "loss_temperature": options.temperature}
    if options.method == "t-spmo":
        method |= {"successes": options.replays, "failures": options.replays} if options.replays else FLAT
    else:
        method["kl"] = 0.0
    train: dict[str, Any] = {
        "learning_rate": LEARNING_RATE,
        "problems_per_step": options.problems,
        "threads": options.threads,
        "memory": options.memory,
    }
    if options.micro_batch_tokens is not None:
        train["micro_batch_tokens"] = options.micro_batch_tokens
    return RunConfig.model_validate(
        {
            "seed": options.seed,
            "model": {"name": options.model, "dtype": options.dtype, "device": options.device},
            "lora": {"rank": 8, "layers": "1/3", "targets": ["q_proj", "v_proj"]},
            "task": "multiplication",
            "method": method,
            "sampling": {"temperature": options.temperature, "max_new_tokens": options.max_new_tokens},
            "train": train,
            "evaluation": {"problems": 1},
        }
    )


FLAT = {"explore": "group"}
"""T-SPMO without replay samples what GRPO samples: one group."""


@dataclass(frozen=True)
class Prompts:
    """A task: the lines of the prompts file, one after the other and over again."""

    lines: tuple[str, ...]
    name: str = "prompts"
    prompt: PromptTemplate = PromptTemplate()
    num_training: int | None = None
    notes: tuple[str, ...] = ()

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th problem."""
        place = index % len(self.lines)
        return Problem(str(place + 1), self.lines[place], ())

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return nothing: nothing is measured."""
        return ()


@dataclass
class Bench:
    """A loaded model and everything that a step needs."""

    options: argparse.Namespace
    loop: Loop
    clock: Clock = field(default_factory=Clock)
    ledgers: list[Ledger] = field(default_factory=list)

    @classmethod
    def load(cls, options: argparse.Namespace) -> "Bench":
        """Load everything for the problems of the prompts file."""
        return cls.on(options, Prompts(tuple(read_prompts(options.prompts))))

    @classmethod
    def on(cls, options: argparse.Namespace, task: Task) -> "Bench":
        """Load the model, attach a fresh adapter and make the parts, as a run does, for the problems of a task."""
        ready = resolve(config_of(options))
        parts = replace(build(ready), verifier=RewardFunction(rewards), task=task)
        return cls(options, Loop(parts, ready.settings))

    @property
    def parts(self) -> Parts:
        """What the loop works with."""
        return self.loop.parts

    def step(self) -> None:
        """Run the next step."""
        seconds = self.loop.state.seconds = Seconds()
        cpu, wall = process_time(), perf_counter()
        result = self.loop.step()
        self.clock.add("step", process_time() - cpu, perf_counter() - wall)
        for phase, names in {"generate": ("sample",), "credit": ("credit",), "update": ("credit", "learn")}.items():
            self.clock.add(phase, *(sum(held[name] for name in names) for held in (seconds.cpu, seconds.wall)))
        self.clock.next_step()
        self.ledgers.append(result.cost)

    def counted_step(self) -> dict[str, int | None]:
        """Run one step more and return the floating-point operations and the logit positions of its update."""
        counter = FlopCounterMode(display=False) if self.options.device == "cpu" else None
        counted: Any = CountedLearner(self.parts.learner, counter)
        self.loop.parts = replace(self.parts, learner=counted)
        self.step()
        flops = None if counter is None else int(counter.get_total_flops())
        return {"flops": flops, "logit_positions": counted.logit_positions}


def settings(options: argparse.Namespace) -> dict[str, object]:
    """Return the options as the record names them: files by their last part, so that no path of a machine is kept."""
    held = {name: value for name, value in vars(options).items() if name != "json"}
    model = Path(options.model)
    return held | {"model": model.name if model.is_dir() else options.model, "prompts": options.prompts.name}


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run the steps and return what they took."""
    rss_import = resident_mb()
    bench = Bench.load(options)
    rss_model = resident_mb()
    frozen = [weight for weight in bench.parts.model.transformer.model.parameters() if not weight.requires_grad]
    trained = sum(matrix.numel() for matrix in bench.parts.learner.matrices)
    for _ in range(options.warmup):
        bench.step()
    reset_peak()
    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(options.steps):
        bench.step()
    peak_rss = peak_resident_mb()
    peak_device = None if options.device == "cpu" else torch.cuda.max_memory_allocated() / 1e6
    timed = [ledger.as_dict() for ledger in bench.ledgers[options.warmup :]]
    micro_batch = bench.parts.learner.micro_batch_tokens
    counted = bench.counted_step()
    timed = timed or [bench.ledgers[-1].as_dict()]
    work = {name: statistics.median(ledger[key] for ledger in timed) for name, key in WORK.items()}
    return {
        "benchmark": "step",
        "system": "creditree",
        **settings(options),
        **(bench.clock.medians(options.warmup, options.steps) if options.steps else {}),
        **work,
        "micro_batch_tokens": micro_batch,
        "updates": sum(ledger["updates"] for ledger in timed),  # fewer than steps: completions were all equal
        "eager": sum(ledger.eager for ledger in bench.ledgers),
        **counted,
        "peak_rss_mb": peak_rss,
        "rss_import_mb": rss_import,
        "rss_model_mb": rss_model,
        "weights_mb": sum(weight.numel() * weight.element_size() for weight in frozen) / 1e6,
        "peak_allocated_mb": peak_device,
        "trained_parameters": trained,
        "environment": describe_environment(),
    }


WORK = {
    "tokens_sampled": "sampled",
    "rows_decoded": "decoded",
    "unique_nodes": "unique_prefixes",
    "tokens_forwarded": "forwarded",
    "loss_terms": "in_loss",
    "captures": "captures",
}
"""Keys of the record, and the counts of the ledger that they are the medians of."""


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a directory, a hub name, or random:NAME")
    parser.add_argument("--method", choices=sorted(METHODS), default="grpo")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--problems", type=int, default=1, help="prompts of one step")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--prompts", type=Path, required=True, help="a file with one prompt a line")
    parser.add_argument("--steps", type=int, default=5, help="timed steps; 0: count the work alone")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8", "nf4"), default="float32")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--micro-batch-tokens", type=int, help="default: the learner's own")
    parser.add_argument("--memory", help="limit such as 8GB, as train.memory; default: none")
    parser.add_argument("--replays", type=int, default=0, help="t-spmo: replays from a success, and from a failure")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    record = measure(options)
    if options.json:
        print(json.dumps(record))
        return
    for name, value in record.items():
        print(f"{name:20s} {value}")


if __name__ == "__main__":
    main()
