"""The evidence that a run has left: its configuration, metrics, rollouts, measurements and summary; no model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.numpy import load_file

from creditree.config.load import check_config, parse_values
from creditree.config.schema import RunConfig
from creditree.config.trust import without_pieces
from creditree.disk import is_file
from creditree.doctor.case import Case
from creditree.doctor.completions import JudgedCompletion, completions_of
from creditree.errors import CreditreeError
from creditree.evaluate.summary import Summary
from creditree.models.load import load_texts
from creditree.models.saved_adapter import WEIGHTS_FILE
from creditree.models.shapes import RANDOM
from creditree.models.texts import Texts
from creditree.runs.attempts import Attempt
from creditree.runs.directory import RunDirectory, Side
from creditree.setup.build import build_task
from creditree.setup.run import SUMMARY
from creditree.tasks.task import Task

MOST_STEPS = 40
"""Steps whose completions are read: the first, the last, and others evenly between."""

T = TypeVar("T")


def case_of_run(path: Path) -> tuple[Case, tuple[str, ...]]:
    """Return what a run says of itself, and a sentence for each part of it that could not be looked at.

    No code that its configuration names runs. Raises RunError where there is no run, or its metrics are damaged.
    """
    run = RunDirectory.read(path)
    left_out: list[str] = []
    config = _config(run)
    summary = _summary(run, left_out)
    decoding = next(iter(summary.decoding)) if summary is not None else None
    task = _task(config, left_out)
    case = Case(
        config=config,
        task=task,
        texts=texts_of(config, left_out),
        records=tuple(run.metrics()),
        completions=_completions(run, left_out),
        summary=summary,
        base=_attempts(run, decoding, "base"),
        trained=_attempts(run, decoding, "trained"),
        adapter_size=_adapter_size(run),
        is_run=True,
    )
    return case, tuple(left_out)


def texts_of(config: RunConfig, left_out: list[str]) -> Texts | None:
    """Return the text side of a model that is at hand; random ones have a byte for a token, and nothing to look at."""
    if config.model.name.startswith(RANDOM):
        return None
    return attempted(lambda: load_texts(config.model.name, offline=True), "the model's tokenizer", left_out)


def attempted(make: Callable[[], T], what: str, left_out: list[str]) -> T | None:
    """Return what is made, or None where that cannot be: then `left_out` gets a sentence."""
    try:
        return make()
    except CreditreeError as error:
        left_out.append(f"{what} could not be looked at: {error}")
        return None


def _config(run: RunDirectory) -> RunConfig:
    where = str(run.path / "config.yaml")
    return check_config(without_pieces(parse_values(run.config_yaml, where)), where)


def _summary(run: RunDirectory, left_out: list[str]) -> Summary | None:
    if not run.has(SUMMARY):
        return None
    return attempted(
        lambda: Summary.from_json(run.read_json(SUMMARY), str(run.path / SUMMARY)), "the summary", left_out
    )


def _task(config: RunConfig, left_out: list[str]) -> Task | None:
    if config.task.locations:
        left_out.append("the problems could not be looked at: code that the run names makes them, and is not run")
        return None
    if config.task.is_on_hub:
        left_out.append("the problems could not be looked at: they are on the hub")
        return None

    def made() -> Task:
        task = build_task(config.task)
        task.held_out(config.evaluation.split, 1)
        return task

    return attempted(made, "the problems", left_out)


def _completions(run: RunDirectory, left_out: list[str]) -> tuple[JudgedCompletion, ...]:
    steps = spread(run.rollout_steps(), MOST_STEPS)
    if not steps:
        left_out.append("single completions could not be looked at: the run keeps no rollouts (log.rollouts_every)")
    rows: list[dict[str, Any]] = []
    for step in steps:
        rows += attempted(lambda step=step: run.rollouts(step), f"step {step}'s rollouts", left_out) or []  # type: ignore[misc]
    return completions_of(rows)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of some steps, the first and the last among them, evenly between."""
    if len(steps) <= most:
        return list(steps)
    last = len(steps) - 1
    return [steps[round(place * last / (most - 1))] for place in range(most)]


def _attempts(run: RunDirectory, decoding: str | None, side: Side) -> tuple[Attempt, ...]:
    if decoding is None:
        return ()
    try:
        return tuple(run.attempts(decoding, side))
    except CreditreeError:  # a run keeps them, and may have lost them
        return ()


def _adapter_size(run: RunDirectory) -> float | None:
    """Return the largest number of the saved adapter's matrices B; None where it has none."""
    path = run.adapter / WEIGHTS_FILE
    if not is_file(path):
        return None
    try:
        matrices = load_file(path)
    except (OSError, ValueError, SafetensorError):
        return None
    return max((float(abs(matrix).max()) for name, matrix in matrices.items() if ".lora_B." in name), default=None)
