"""The cells of the table: which models, tasks, methods, learning rates and seeds are run, and in what order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml

from creditree.config.search import MOST_STEPS
from recipes.real.fetch import SOURCES

HERE = Path(__file__).resolve().parent
METHODS = ("grpo", "s-grpo", "t-spmo")
SEEDS = (0, 1, 2)
TUNING_SEED = 100
TRIED = (3e-3, 1e-3, 3e-4)
"""Learning rates that are tried for every method alike."""

Kind = Literal["base", "tuning", "final"]


@dataclass(frozen=True, slots=True)
class Setup:
    """A model on a task: the sampled tokens of a final run, what differs from the YAML, and the learning rates chosen.

    `tuning_tokens`: those of a tuning run, two thirds of a final one's;  `task`: what the names of its YAML files begin
    with;  `chosen`: by method, from the tuning cells in results/; a method that is not in it has not been tuned yet;
    `methods`: those that are run, none where there is nothing to learn;  `device`: where; cells of another device than
    the CPU are run only where their set-up is asked for by its name.
    """

    name: str
    model: str
    task: str
    tokens: int
    chosen: dict[str, float]
    keys: tuple[tuple[str, object], ...] = ()
    tuning_tokens: int = 20_000
    methods: tuple[str, ...] = METHODS
    device: str = "cpu"

    @property
    def tuning(self) -> str:
        """The table of the tuning cells that chose its learning rates."""
        return f"tuning-{self.name}"


BEST_ON_CPU = {"grpo": 1e-3, "s-grpo": 1e-3, "t-spmo": 3e-3}
BEST_ON_GPU = {"grpo": 3e-4, "s-grpo": 1e-3, "t-spmo": 1e-3}
BEST_ON_PRODUCTS = {"grpo": 1e-3, "s-grpo": 3e-4, "t-spmo": 3e-4}
TWO_BY_TWO = (("task.digits_a", 2), ("task.digits_b", 2))
SETUPS = (
    Setup("svamp-qwen", "qwen", "svamp", 30_000, BEST_ON_CPU),
    Setup("svamp-smollm2", "smollm2", "svamp", 30_000, {"grpo": 3e-3, "s-grpo": 3e-3, "t-spmo": 1e-3}),
    Setup("multiplication-3x1-qwen", "qwen", "multiplication", 30_000, {}, methods=()),
    Setup("multiplication-2x2-qwen", "qwen", "multiplication", 30_000, BEST_ON_PRODUCTS, TWO_BY_TWO),
    Setup("svamp-qwen-256", "qwen", "svamp_256", 280_000, BEST_ON_GPU, tuning_tokens=187_000, device="cuda"),
)
SMOKE_KEYS: tuple[tuple[str, object], ...] = (
    ("method.group", 2),
    ("sampling.max_new_tokens", 32),
    ("train.problems_per_step", 2),
    ("evaluation.problems", 3),
)


@dataclass(frozen=True, slots=True)
class RealCell:
    """One process: a setup, a method at a learning rate, and a seed; `base` measures the model as it is."""

    setup: Setup
    kind: Kind
    method: str = "grpo"
    learning_rate: float = 0.0
    seed: int = 0

    @property
    def table(self) -> str:
        """The table that it belongs to."""
        return self.setup.tuning if self.kind == "tuning" else self.setup.name

    @property
    def name(self) -> str:
        """Its row there."""
        if self.kind == "base":
            return "base"
        return f"{self.method} lr={self.learning_rate:g}" if self.kind == "tuning" else self.method

    @property
    def file(self) -> str:
        """Stem of its raw file, and name of its run directory."""
        return f"{self.table}--{self.name}--seed{self.seed}".replace(" ", "_").replace("=", "")

    @property
    def tokens(self) -> int:
        """Tokens that it samples in training."""
        return self.setup.tuning_tokens if self.kind == "tuning" else self.setup.tokens

    def configuration(self, weights: Path, data: Path | None) -> dict[str, Any]:
        """Return its configuration as nested values: the YAML of task and method, and what the cell says."""
        path = HERE / f"{self.setup.task}_{self.method.replace('-', '_')}.yaml"
        values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        values["seed"] = self.seed
        values["model"]["name"] = str(weights / SOURCES[self.setup.model].file)
        values["model"]["device"] = self.setup.device
        if self.setup.device == "cpu":
            values["train"]["threads"] = 1
        values["train"]["learning_rate"] = self.learning_rate or values["train"]["learning_rate"]
        values["train"] |= {"tokens": self.tokens, "steps": MOST_STEPS}  # by tokens alone: equal for every method
        values["evaluation"]["split"] = "validation" if self.kind == "tuning" else "test"
        if values["task"]["name"] == "svamp" and data is not None:
            values["task"]["path"] = str(data)
        for name, value in self.setup.keys:
            block, key = name.split(".")
            values[block][key] = value
        return values


def cells_of(setup: Setup) -> Iterator[RealCell]:
    """Yield base and tuning, then what is tuned: all methods with one seed before the next seed."""
    yield RealCell(setup, "base")
    for rate, method in product(TRIED, setup.methods):
        yield RealCell(setup, "tuning", method, rate, TUNING_SEED)
    for seed, method in product(SEEDS, setup.methods):
        if method in setup.chosen:
            yield RealCell(setup, "final", method, setup.chosen[method], seed)


def all_cells() -> list[RealCell]:
    """Return every cell, in the order in which they are run: a table that is cut off is a valid one."""
    return [cell for setup in SETUPS for cell in cells_of(setup)]


def wanted_cells(only: str) -> list[RealCell]:
    """Return the cells whose name holds a text; on another device than the CPU, if it names the set-up."""
    return [
        cell for cell in all_cells() if only in cell.file and (cell.setup.device == "cpu" or cell.setup.name in only)
    ]


def smoke(cell: RealCell) -> RealCell:
    """Return a cell in the smallest sizes on the CPU, which shows that its code runs and nothing else."""
    keys = (*cell.setup.keys, *SMOKE_KEYS)
    return replace(cell, setup=replace(cell.setup, tokens=1, keys=keys, device="cpu"))
