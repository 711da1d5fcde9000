"""Predicted against measured peaks of memory, on a matrix of shapes, methods, lengths, precisions and micro-batches.

    python benchmarks/memory_plan.py [--device cuda] [--matrix small|large] [--json FILE]

Each case makes two training steps on a model with random weights and no end of sequence, so that every completion has
the length asked for. Measured is the peak of live bytes that torch allocates (`benchmarks/allocator.py`), and what is
held before. What native code and numpy hold is outside torch: it is left out of the prediction here.
"""

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from benchmarks.allocator import allocator_peak
from benchmarks.measure import reward_of
from creditree.batch import Batch, pack
from creditree.config.method import MethodConfig
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.explore.branching import Branching, Node, Point
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.ledger import Seconds
from creditree.methods import Method
from creditree.models import quantise
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.footprint import held_bytes
from creditree.models.load import Dtype, Model
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import Shape
from creditree.models.trained import Trained
from creditree.models.transformer import Transformer
from creditree.piece import fitted
from creditree.plan.prediction import predict
from creditree.plan.skeleton import bush_expected
from creditree.plan.workload import Workload, is_widened
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.signals import NO_SIGNALS, InfluenceSource, Signals
from creditree.steps import Separators
from creditree.tasks.task import PromptTemplate
from creditree.train.rollout import Rollout
from creditree.tree import Forest, RolloutTree
from creditree.verify.reward_function import RewardFunction
from tests.rollouts import grown

PROMPT = "abcdefghijklmnopqrstuvwxyzabcdefghijklmn"
SHAPES = {
    "tiny": Shape(6, 128, 4, 2, 32, 352, 512, 4096, qkv_bias=True),
    "small": Shape(8, 512, 8, 2, 64, 704, 32768, 4096, qkv_bias=True),
    "wide": Shape(4, 512, 8, 8, 64, 2048, 4096, 4096, tied=False),
    "normed": Shape(6, 256, 8, 4, 64, 768, 8192, 4096, qk_norm=True),
}


Weights = Literal["adapter", "all"]


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration."""

    shape: str = "tiny"
    method: str = "grpo"
    group: int = 8
    tokens: int = 64
    dtype: Dtype = "float32"
    micro_batch_tokens: int = 1024
    problems: int = 1
    max_rows: int = 512
    kl: float = 0.0
    trained: Weights = "adapter"
    influence: InfluenceSource | None = None


SMALL = (
    Case(),
    Case("tiny", "grpo", 16, 48, micro_batch_tokens=256, kl=0.01),
    Case("small", "grpo", 8, 32),
    Case("small", "s-grpo", 8, 32, "bfloat16"),
    Case("small", "t-spmo", 16, 48),
    Case("wide", "grpo", 4, 48, "bfloat16", problems=2),
    Case("normed", "grpo", 8, 48, micro_batch_tokens=128),
    Case("normed", "t-spmo", 12, 64, "nf4"),
    Case("small", "grpo", 4, 32, "int8"),
    Case("tiny", trained="all"),
    Case("small", "grpo", 8, 32, kl=0.01, trained="all"),
    Case("normed", "grpo", 8, 64, micro_batch_tokens=128, trained="all"),
    Case("tiny", "attnrl", 4, 64, influence="pass"),
    Case("small", "attnrl", 4, 48, kl=0.01, influence="pass"),
    Case("normed", "attnrl", 4, 64, micro_batch_tokens=256, influence="decoding"),
    Case("tiny", "attnrl", 4, 64, "int8", influence="decoding"),
    Case("wide", "treerl", 4, 48, problems=2),
    Case("small", "treerl", 4, 64, micro_batch_tokens=96, trained="all"),
)
SIZES = ((8, 64, 1024), (8, 64, 128), (24, 96, 512))
"""Groups, lengths and micro-batches of the large matrix, taken in turns."""
GROWN = ((4, 64, 1024), (4, 64, 96), (6, 96, 512))
"""The same of trees: with five completions for each of the group."""
STEP = 8
"""Tokens of a step in the mean: a token in so many is a separator."""
PRECISIONS: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "nf4")
OTHERS: tuple[tuple[str, Dtype, Weights, float, InfluenceSource | None], ...] = (
    ("grpo", "float32", "all", 0.0, None),
    ("grpo", "float32", "all", 0.01, None),
    ("treerl", "float32", "all", 0.01, None),
    ("treerl", "bfloat16", "adapter", 0.0, None),
    ("attnrl", "float32", "adapter", 0.01, "pass"),
    ("attnrl", "bfloat16", "adapter", 0.0, "pass"),
    ("attnrl", "float32", "adapter", 0.0, "decoding"),
    ("attnrl", "int8", "adapter", 0.0, "decoding"),
)
"""Method, precision, what learns, KL penalty and influence: for each shape of the large matrix."""
LARGE = tuple(
    Case(shape, method, *SIZES[(row + column) % 3][:2], dtype, SIZES[(row + column) % 3][2])
    for row, (shape, dtype) in enumerate(product(SHAPES, PRECISIONS))
    for column, method in enumerate(("grpo", "s-grpo", "t-spmo"))
) + tuple(
    Case(shape, method, group, tokens, dtype, micro, kl=kl, trained=trained, influence=influence)
    for row, shape in enumerate(SHAPES)
    for column, (method, dtype, trained, kl, influence) in enumerate(OTHERS)
    for group, tokens, micro in [(SIZES if method == "grpo" else GROWN)[(row + column) % 3]]
)


def rewards(completions: list[str]) -> list[float]:
    """Return the fixed hash of each text."""
    return [reward_of(text) for text in completions]


class Run:
    """A case's machines."""

    def __init__(self, case: Case, device: str) -> None:
        self.case, self.device = case, device
        self.shape = SHAPES[case.shape]
        self.method = method_of(case, self.shape)
        self.model = load(self.shape, case.dtype, device)
        self.trained: Trained = (
            AllWeights(self.model) if case.trained == "all" else Adapter(self.model, LoraSpec(), Key.of(0))
        )
        self.engine = InProcessEngine(self.model, case.max_rows, keep_layer=self.trained.first_layer)
        spec = OptimiserSpec(1e-6, micro_batch_tokens=case.micro_batch_tokens)
        self.learner = Learner(self.trained, self.method.objective, spec, self.engine)
        verifier = RewardFunction(rewards)
        self.rollout = Rollout(self.model, self.engine, verifier, PromptTemplate(), Sampling(1.0), case.tokens)

    @property
    def workload(self) -> Workload:
        """What the plan knows of the case."""
        case = self.case
        sampled = self.method.explore.demand(case.tokens)
        learned = self.method.select.demand(case.tokens)
        return Workload(
            self.shape, case.dtype, tuple(range(self.trained.first_layer, self.shape.num_layers)), len(PROMPT),
            case.tokens, case.group, problems=case.problems, learns=learned.learns,
            reference=self.method.objective.kl > 0,
            early=learned.reach,
            micro_batch_tokens=case.micro_batch_tokens, max_rows=case.max_rows,
            static=self.device != "cpu" and case.trained == "adapter",
            native=self.device == "cpu",
            branches=sampled.branches, influence=sampled.signals.influence, all_weights=case.trained == "all",
            widened=is_widened(case.dtype, on_host=self.device == "cpu"),
        )  # fmt: skip

    def sample(self, step: int) -> list[Forest]:
        """Sample and judge the step's problems."""
        problems = [Problem(str(index), PROMPT[index:] + PROMPT[:index], ()) for index in range(self.case.problems)]
        keys = [Key.of(step).at("problem", index) for index in range(self.case.problems)]
        return grown(self.rollout, self.method.explore, problems, keys, Seconds())[0]

    def batch(self, forests: list[Forest], step: int) -> Batch:
        """Return what the learner sees."""
        method = self.method
        advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
        weights = [
            method.select.weigh(forest, field, Key.of(step).at("select", index))
            for index, (forest, field) in enumerate(zip(forests, advantages, strict=True))
        ]
        return pack(forests, advantages, weights, keep_zero_advantage=self.learner.keep_zero_advantage)

    def measured(self) -> dict[str, int]:
        """Make two steps and return the peak bytes of sampling and update, and of all."""
        base = held_bytes(self.model.transformer.model)  # the adapter is part of it, and all weights are there twice
        base += sum(weight.nbytes for weight in self.trained.matrices) if self.case.trained == "all" else 0
        sampling = update = live = 0
        for step in range(2):
            with allocator_peak(self.device) as found:
                forests = self.sample(step)
            sampling, live = max(sampling, base + live + found.peak), live + found.left
            batch = self.batch(forests, step)
            with allocator_peak(self.device) as found:
                self.learner.step(batch, Key.of(step))
            update, live = max(update, base + live + found.peak), live + found.left
        return {"sampling": sampling, "update": update, "tokens": batch.num_tokens}


@dataclass(frozen=True)
class Halfway(Branching):
    """Forks each chain in its middle, where a rule is expected to in the mean, and asks for what the rule asks for."""

    asked: Signals = fitted(NO_SIGNALS)
    name: ClassVar[str] = "halfway"

    @property
    def signals(self) -> Signals:
        """Those of the rule."""
        return self.asked

    def choose(self, tree: RolloutTree, nodes: Sequence[Node], key: Key) -> list[Point]:
        """Return neighbouring points in the middle of the chain."""
        middle = (nodes[0].end - 1) // 2
        return [(nodes[0].branch, middle + index) for index in range(self.points)]


def method_of(case: Case, shape: Shape) -> Method:
    """Return the method of a case, on-policy, with nothing in it that is drawn at random but the tokens."""
    block: dict[str, Any] = {"name": case.method, "group": case.group}
    if case.method == "t-spmo":
        block["explore"] = "group"  # where a replay cuts is drawn at random
    elif case.kl == 0:
        block["kl"] = 0.0
    if case.method == "s-grpo":
        block |= {"alpha": case.tokens // 4, "k": case.tokens // 2}
    if case.method == "attnrl":
        block |= {"schedule": "fixed", "off_policy": False, "delta": 2, "influence_source": case.influence}
    method = MethodConfig(**block).build().fitted(Separators((frozenset(range(0, shape.vocab_size, STEP)),)))
    if isinstance(method.explore, Branching):
        halfway = Halfway(case.group, method.explore.points, asked=method.explore.signals)
        method = replace(method, explore=halfway)
    return method


def load(shape: Shape, dtype: Dtype, device: str) -> Model:
    """Return a model with random weights."""
    model = random_model(shape, quantise.COMPUTE if dtype in ("int8", "nf4") else getattr(torch, dtype), device)
    if dtype == "int8" or dtype == "nf4":
        quantise.quantise(model, dtype, device)
    return Model("random", Transformer(model), byte_tokenizer(shape.vocab_size))


def predicted(work: Workload) -> dict[str, int]:
    """Return the predicted peaks of sampling and update in torch's allocator, and the update's tokens."""
    phases = {phase.name: phase.in_torch for phase in predict(work, expected=True).phases}
    phases["sampling"] = max(phases["sampling"], phases.pop("influence", 0))
    return phases | {"tokens": bush_expected(work).tokens}


def compare(case: Case, device: str = "cpu") -> dict[str, Any]:
    """Return a case's predicted and measured peaks, in bytes, and the error of the larger."""
    gc.collect()  # machines of the case before refer to one another
    run = Run(case, device)
    ours, theirs = predicted(run.workload), run.measured()
    peaks = [max(found["sampling"], found["update"]) for found in (ours, theirs)]
    phases = {name: ours[name] / theirs[name] - 1 for name in ("sampling", "update")}
    return asdict(case) | {
        "predicted": ours, "measured": theirs, "weights": predict(run.workload).peak.parts["weights"],
        "error_by_phase": phases, "error": peaks[0] / peaks[1] - 1,
    }  # fmt: skip


def main() -> None:
    """Measure and print a table; write the raw records where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--matrix", choices=("small", "large"), default="small")
    parser.add_argument("--json", type=Path, help="write the records here, as JSON lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases: Sequence[Case] = SMALL if options.matrix == "small" else LARGE
    records = []
    for case in cases:
        record = compare(replace(case), options.device)
        records.append(record | {"benchmark": "memory_plan", "environment": describe_environment()})
        ours, theirs = record["predicted"], record["measured"]
        print(
            f"{case.shape:7s} {case.method:7s} {case.influence or case.trained:8s} G={case.group:<3d} "
            f"T={case.tokens:<4d} {case.dtype:9s} micro {case.micro_batch_tokens:<5d} "
            f"weights {record['weights'] / 1e6:7.1f}  "
            + "  ".join(
                f"{name} {ours[name] / 1e6:8.2f} / {theirs[name] / 1e6:8.2f}" for name in ("sampling", "update")
            )
            + f"  error {100 * record['error']:+.1f} %",
            flush=True,
        )
    if options.json:
        options.json.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


if __name__ == "__main__":
    main()
