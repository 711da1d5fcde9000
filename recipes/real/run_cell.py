"""One cell of the table in this process: train for its sampled tokens, measure, write one raw file.

A run that was stopped goes on from its last checkpoint.
"""

import json
import warnings
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from creditree.config.load import check_config, dump_config
from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.prompt import prompt_ids
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.runs.environment import describe_environment
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.train.settings import Parts, Settings
from creditree.train.trainer import Trainer
from creditree.verify.verifier import closing
from recipes.real.cells import RealCell

MEASURING = Key.of(7)
"""Random numbers of every measurement, so that all cells are compared in pairs under the same ones."""
VALIDATION_SAMPLES = 4
"""Completions of a validation problem at T > 0: there are only 100 problems to choose a learning rate by."""
CURVE = ("step", "sampled", "in_loss", "decoded", "forwarded", "truncated", "unparsable", "reward_mean", "mixed_share")


class Budgeted(Trainer):
    """A trainer whose limit is sampled tokens: its steps, and so its learning rate, follow from what is left."""

    def __init__(self, parts: Parts, settings: Settings, run: RunDirectory, watcher: "Printer", tokens: int) -> None:
        super().__init__(parts, settings, run, watcher)
        self.tokens = tokens

    def aim(self) -> None:
        """Set the steps such that the share of them that is done is the share of tokens that is sampled."""
        done, sampled = self.state.step, self.state.ledger.sampled
        if sampled:
            self.settings = replace(self.settings, steps=max(done, ceil(done * self.tokens / sampled)))

    def restore(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        super().restore()
        self.aim()

    def _one_step(self) -> None:
        super()._one_step()
        self.aim()


class Printer(Watcher):
    """Prints a line a step."""

    def update(self, record: Any) -> None:
        """Print what a step did."""
        names = ("step", "sampled", "reward_mean", "mixed_share", "grad_norm", "cpu_seconds")
        print(" ".join(f"{name} {record[name]:.5g}" for name in names if record[name] is not None), flush=True)

    def message(self, text: str) -> None:
        """Print a sentence."""
        print(text, flush=True)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: weights, problems (None: the hub), run directories, raw files."""

    weights: Path
    data: Path | None
    work: Path
    results: Path

    def result(self, cell: RealCell) -> Path:
        """Return the raw file of a cell."""
        return self.results / cell.table / f"{cell.file}.json"


def run_cell(cell: RealCell, places: Places) -> None:
    """Run a cell and write its raw file."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    config = check_config(cell.configuration(places.weights, places.data), cell.file)
    ready = resolve(config)
    parts, settings = build(ready), ready.settings
    with closing(parts.verifier), RunDirectory.resume(places.work / cell.file, dump_config(config)) as run:
        trainer = Budgeted(parts, settings, run, Printer(), cell.tokens)
        trainer.restore()
        if cell.kind == "base":
            with parts.learner.trained.off():
                measured = measure(trainer, cell)
        else:
            trainer.train()
            with run.published(parts.learner.trained.folder) as folder:
                parts.learner.trained.save(folder)
            measured = measure(trainer, cell)
        record = {
            "table": cell.table,
            "name": cell.name,
            "model": cell.setup.model,
            "method": cell.method,
            "seed": cell.seed,
            "learning_rate": cell.learning_rate,
            "evaluation": measured,
            **_training(trainer),
            "prompt": first_prompt(parts, settings),
            "config": without_folders(yaml.safe_load(dump_config(config))),
            "environment": describe_environment(),
        }
    path = places.result(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(trainer: Trainer, cell: RealCell) -> dict[str, Any]:
    """Return what each decoding gave on the held-out problems, problem by problem."""
    settings, found = trainer.settings, {}
    problems = settings.measured(trainer.parts.task)
    examiner = replace(trainer.examiner, key=MEASURING)
    for temperature in settings.evaluation_temperatures:
        samples = VALIDATION_SAMPLES if cell.kind == "tuning" and temperature > 0 else 1
        with trainer.state.seconds.phase("evaluate"):
            one = examiner.evaluate(problems, Sampling(temperature), samples)
        found[Sampling(temperature).name] = as_record(one)
        print(f"{cell.file} {Sampling(temperature).name}: {one.accuracy:.3f}", flush=True)
    return found


def first_prompt(parts: Parts, settings: Settings) -> str:
    """Return the first measured problem's prompt as the model gets it."""
    ids = prompt_ids(parts.task.prompt, settings.measured(parts.task)[0], parts.model)
    return str(parts.model.tokenizer.decode(ids))


def as_record(found: Evaluation) -> dict[str, Any]:
    """Return the figures of an evaluation; `share_correct` by problem id."""
    return {
        "accuracy": found.accuracy,
        "completions": found.num_completions,
        "tokens": found.num_tokens,
        "truncated": found.num_truncated,
        "statuses": found.statuses,
        "share_correct": found.share_correct,
    }


def without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration whose files are names alone: where they lay is nobody's business but this machine's."""
    model, task = config["model"], config["task"]
    found = config | {"model": model | {"name": Path(model["name"]).name}}
    return found | ({"task": task | {"path": Path(task["path"]).name}} if task.get("path") else {})


def _training(trainer: Trainer) -> dict[str, Any]:
    points = [
        {name: record[name] for name in CURVE} | {"cpu_s": record["cpu_seconds"]} for record in trainer.run.metrics()
    ]
    seconds = trainer.state.seconds
    return {"wall_s": dict(seconds.wall), "cpu_s": dict(seconds.cpu), **({"curve": points} if points else {})}
