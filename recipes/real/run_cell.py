"""One cell of the table in this process: train for its sampled tokens, measure, write one raw file.

A run that was stopped goes on from its last checkpoint. What is known of it so far, to its last step, lies beside its
run directory, as a raw file that is not whole.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import time
from typing import Any

import psutil
import yaml

from benchmarks.gpu_record import describe
from creditree.config.load import check_config, dump_config
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.static.record import Kernels, Recorder
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.prompt import prompt_ids
from creditree.report.watcher import Watcher
from creditree.rng import Key
from creditree.runs.atomic import write_text
from creditree.runs.directory import RunDirectory
from creditree.setup.machine import peak_memory
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
GPU_CURVE = ("seconds", "captures", "eager")
"""What the points of a curve hold besides, where the model was on a GPU."""
CURVE = ("step", "sampled", "in_loss", "decoded", "forwarded", "truncated", "unparsable", "reward_mean", "mixed_share")


class Printer(Watcher):
    """Prints a line a step, and calls `told` after it."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told

    def update(self, record: Any) -> None:
        """Print what a step did."""
        names = ("step", "sampled", "reward_mean", "mixed_share", "grad_norm", "cpu_seconds", "seconds")
        print(" ".join(f"{name} {record[name]:.5g}" for name in names if record[name] is not None), flush=True)
        self._told()

    def message(self, text: str) -> None:
        """Print a sentence."""
        print(text, flush=True)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: weights, problems (None: the hub), run directories, raw files.

    `side_by_side`: how many cells share the machine;  `kernels`: of decoding on a GPU, None to measure which are the
    faster ones.
    """

    weights: Path
    data: Path | None
    work: Path
    results: Path
    side_by_side: int = 1
    kernels: Kernels | None = None

    def result(self, cell: RealCell) -> Path:
        """Return the raw file of a cell."""
        return self.results / cell.table / f"{cell.file}.json"

    def unfinished(self, cell: RealCell) -> Path:
        """Return the file of what is known of a cell that is not done."""
        return self.work / f"{cell.file}.json"


def run_cell(cell: RealCell, places: Places) -> None:
    """Run a cell and write its raw file."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    config = check_config(cell.configuration(places.weights, places.data), cell.file)
    ready = resolve(config)
    parts, settings = build(ready), ready.settings
    want_kernels(parts, places.kernels)
    with closing(parts.verifier), RunDirectory.resume(places.work / cell.file, dump_config(config)) as run:
        raw = RawFile(cell, places)
        trainer = Trainer(parts, settings, run, Printer(lambda: raw.keep(trainer)))
        trainer.restore()
        raw.start_s = time() - psutil.Process().create_time()
        print(f"{raw.start_s:.1f} s to the start", flush=True)
        if cell.kind == "base":
            with parts.learner.trained.off():
                measure(trainer, raw)
        else:
            trainer.train()
            with run.published(parts.learner.trained.folder) as folder:
                parts.learner.trained.save(folder)
            measure(trainer, raw)
        about = {
            "prompt": first_prompt(parts, settings),
            "config": without_folders(yaml.safe_load(dump_config(config))),
            "environment": describe(config.model.device),
        }
        raw.finish(trainer, about)


@dataclass(slots=True)
class RawFile:
    """What is known of a cell, kept on the disk as it becomes known. `start_s`: wall seconds before the first step."""

    cell: RealCell
    places: Places
    measured: dict[str, Any] = field(default_factory=dict)
    start_s: float = 0.0

    def keep(self, trainer: Trainer) -> None:
        """Write what is known so far."""
        self._write(self.places.unfinished(self.cell), self._known(trainer))

    def finish(self, trainer: Trainer, about: Mapping[str, Any]) -> None:
        """Write the raw file, in the place of what was known before."""
        self._write(self.places.result(self.cell), {**self._known(trainer), **about})
        self.places.unfinished(self.cell).unlink(missing_ok=True)

    @staticmethod
    def _write(path: Path, known: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(known, indent=1) + "\n")

    def _known(self, trainer: Trainer) -> dict[str, Any]:
        cell, seconds = self.cell, trainer.state.seconds
        on_gpu = cell.setup.device == "cuda"
        return {
            "table": cell.table,
            "name": cell.name,
            "model": cell.setup.model,
            "method": cell.method,
            "seed": cell.seed,
            "learning_rate": cell.learning_rate,
            "evaluation": self.measured,
            "wall_s": dict(seconds.wall),
            "cpu_s": dict(seconds.cpu),
            **({} if cell.kind == "base" else {"curve": curve(trainer.run, (*CURVE, *GPU_CURVE) if on_gpu else CURVE)}),
            **(self._on_gpu(trainer) if on_gpu else {}),
        }

    def _on_gpu(self, trainer: Trainer) -> dict[str, Any]:
        """Return what else is known of a cell whose model is on a GPU, measurements included."""
        recorder = recorder_of(trainer.parts)
        return {
            "start_s": self.start_s,
            "side_by_side": self.places.side_by_side,
            "peak_bytes": peak_memory("cuda"),
            "kernels": None if recorder is None else recorder.kernels,
            "captures": None if recorder is None else recorder.captured,
            "eager": None if recorder is None else recorder.eager,
            "recording_s": None if recorder is None else recorder.seconds,
            "failure": None if recorder is None else recorder.failure,
        }


def want_kernels(parts: Parts, kernels: Kernels | None) -> None:
    """Let decoding steps be recorded with these kernels, where they are recorded; None: with those that are fastest."""
    recorder = recorder_of(parts)
    if recorder is not None:
        recorder.wanted = kernels


def recorder_of(parts: Parts) -> Recorder | None:
    """Return who records decoding steps, where they are recorded."""
    return parts.engine.recorder if isinstance(parts.engine, InProcessEngine) else None


def curve(run: RunDirectory, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return some figures of every step."""
    return [{name: record[name] for name in names} | {"cpu_s": record["cpu_seconds"]} for record in run.metrics()]


def measure(trainer: Trainer, raw: RawFile) -> None:
    """Find what each decoding gives on the held-out problems, problem by problem; each is kept when it is known."""
    settings, cell = trainer.settings, raw.cell
    problems = settings.measured(trainer.parts.task)
    examiner = replace(trainer.examiner, key=MEASURING)
    for temperature in settings.evaluation_temperatures:
        samples = VALIDATION_SAMPLES if cell.kind == "tuning" and temperature > 0 else 1
        with trainer.state.seconds.phase("evaluate"):
            one = examiner.evaluate(problems, Sampling(temperature), samples)
        name = Sampling(temperature).name
        raw.measured[name] = as_record(one)
        raw.keep(trainer)
        print(f"{cell.file} {name}: {one.accuracy:.3f}", flush=True)


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
