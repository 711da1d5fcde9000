"""Measuring a run, an adapter or a plain model on held-out problems."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import yaml

from creditree.engines.engine import Engine, Sampling
from creditree.evaluate.accuracy import Evaluation, check_judged
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.example import Example
from creditree.evaluate.first_look import FirstLook
from creditree.evaluate.prompt import text_notes
from creditree.evaluate.session import InMemory, Kept, measure
from creditree.evaluate.statistics import Estimate
from creditree.measure.measurement import Measurement, measurement_of, settings_of
from creditree.measure.record import record_of
from creditree.measure.target import EvaluationRequest, Job
from creditree.measure.unfinished import unfinished
from creditree.models.load import Model, load_model
from creditree.models.trained import Trained, load_trained
from creditree.report.evaluation import (
    BASE,
    MEASURED,
    problem_rows,
)
from creditree.report.watcher import Watcher
from creditree.runs.directory import SERVER_LOG
from creditree.runs.evaluation import EvaluationDirectory
from creditree.setup.edited import edited
from creditree.setup.engine import Surroundings, build_engine
from creditree.setup.grading import build_verifier, code_digest
from creditree.setup.sharded import check_sharded
from creditree.setup.workload import rows_of
from creditree.train.inputs import BaseDigests
from creditree.train.interrupt import continuing
from creditree.verify.verifier import Verifier, closing


@dataclass(frozen=True, eq=False, slots=True)
class Evaluated:
    """What an evaluation found. `record` is all of it, as JSON; `edited`: a word on a configuration, or ""."""

    record: Mapping[str, Any]
    edited: str = ""

    @property
    def estimate(self) -> Estimate:
        """Pass@1 under the first way of decoding; of a suite, the average over its sets."""
        figures = self.record
        if "suite" in figures:
            figures = next(iter(figures["average"].values()))
        return Estimate.from_json(figures["pass@1"])

    @property
    def accuracy(self) -> float:
        """The same as a number alone."""
        return self.estimate.value

    def to_json(self) -> dict[str, Any]:
        """Return all that was found."""
        return dict(self.record)


def evaluate(request: EvaluationRequest, watcher: Watcher) -> Evaluated:
    """Measure the target, and where a run trained it, its base too, on the same problems and random numbers.

    With `out` the completions and results are kept there, and the same request goes on with what was stopped. Raises
    ConfigError, DataError, ModelError or RunError, and Interrupted where a signal stopped it.
    """
    measurement, words = measurement_of(request), edited(request.target)
    check_sharded(measurement.jobs[0].config, request.workers)
    settings = yaml.safe_dump(settings_of(measurement), sort_keys=False, allow_unicode=True, width=120)
    code = [code_digest(job.config.reward) for job in measurement.jobs]
    opened = unfinished(settings, code) if request.out is None else EvaluationDirectory.open(request.out, settings)
    with opened as directory:
        kept = "nothing was kept: add `out` DIR to be able to continue"
        if directory is not None:
            kept = f"what was sampled is kept in {directory.path}: repeat the command to continue"
        with continuing(kept), watcher.measuring(measurement.total):
            known, evaluations = _measured(measurement, directory, watcher, request.workers)
        _check_judged(measurement, evaluations, kept=directory is not None)
        record = record_of(measurement, evaluations) | known
        if directory is not None and request.out is not None:
            rows = [
                row
                for job, decodings in zip(measurement.jobs, evaluations, strict=True)
                for name, sides in decodings.items()
                for row in problem_rows(job.name, name, sides, job.problems)
            ]
            directory.finish(rows, record)
    return Evaluated(record, words)


def _check_judged(
    measurement: Measurement, evaluations: Sequence[Mapping[str, Mapping[str, Evaluation]]], *, kept: bool
) -> None:
    cure = "add `out` DIR, and what was sampled is kept and judged again when the command is repeated."
    if kept:
        cure = "when what judges works again, repeat the command: it judges them again, and samples nothing."
    for job, decodings in zip(measurement.jobs, evaluations, strict=True):
        for name, sides in decodings.items():
            check_judged({f"{job.name} {name}, {side}": evaluation for side, evaluation in sides.items()}, cure)


def _measured(
    measurement: Measurement, directory: EvaluationDirectory | None, progress: Watcher, workers: int | None
) -> tuple[dict[str, Any], list[dict[str, dict[str, Evaluation]]]]:
    """Return what is known beside the figures, and, for each job, what was found.

    Known are the base model (its digest, what ends its answers), and each job's first prompt and completion.

    What was found is by decoding and side.
    """
    config = measurement.jobs[0].config
    with ExitStack() as stack:
        verifiers: list[Verifier] = [
            stack.enter_context(closing(build_verifier(job.config.reward))) for job in measurement.jobs
        ]
        block = config.model
        model = load_model(block.name, block.dtype, block.device, sharded=block.sharded)
        base = BaseDigests.of(model, config.model.dtype)
        if directory is not None:
            directory.keep_base(base.to_json())
        if measurement.trained is not None:
            base.check(measurement.trained)
        trained = None if measurement.trained is None else load_trained(model, measurement.trained)
        around = Surroundings(None if directory is None else directory.path / SERVER_LOG, progress.message)
        engine, verifiers = _machines(measurement, model, trained, verifiers, around, workers)
        stack.callback(engine.close)
        examiners = [
            Examiner(model, engine, verifier, job.task.prompt, job.max_new_tokens, measurement.key)
            for job, verifier in zip(measurement.jobs, verifiers, strict=True)
        ]
        for job, examiner in zip(measurement.jobs, examiners, strict=True):
            examiner.check(job.problems)
        texts = (note for job in measurement.jobs for note in text_notes(job.task.prompt, model.texts))
        for note in dict.fromkeys((*engine.notes, *texts)):
            progress.message(note)
        looks = [FirstLook(examiner, progress.message, keys=_KEYS) for examiner in examiners]
        evaluations = [
            {
                Sampling(temperature).name: {
                    side: _side(measurement, job, look, temperature, side, trained, directory, progress)
                    for side in measurement.sides
                }
                for temperature in measurement.temperatures
            }
            for job, look in zip(measurement.jobs, looks, strict=True)
        ]
        pairs = zip(measurement.jobs, looks, strict=True)
        first = {job.name: _first(measurement, job, look, directory).to_json() for job, look in pairs}
        return {"base_model": base.to_json(), "texts": model.texts.to_json(), "first": first}, evaluations


def _machines(
    measurement: Measurement,
    model: Model,
    trained: Trained | None,
    verifiers: list[Verifier],
    around: Surroundings,
    workers: int | None,
) -> tuple[Engine, list[Verifier]]:
    """Return what samples, and what judges each job: of this process, or by workers."""
    job = measurement.jobs[0]
    if workers is None:
        questions = job.task.prompt, job.problems
        return build_engine(job.config, model, trained, questions, rows_of(job.config), around=around), verifiers
    from creditree.setup.scaled import MeasuringWorkers  # Ray is imported by whoever asks for workers

    rewards = tuple(job.config.reward for job in measurement.jobs)
    made_of = MeasuringWorkers(job.config, measurement.trained, rewards)
    return made_of.machines(workers, model, trained, verifiers, around.told)


_KEYS = {"length_key": "`max_new_tokens`", "prompt_key": "task.prompt.text (`overrides`)", "reward_key": "`reward`"}
"""What the settings are called here that cure completions which nobody can read."""


def _first(measurement: Measurement, job: Job, look: FirstLook, directory: EvaluationDirectory | None) -> Example:
    """Return the first example of a job; of completions that are kept, whichever command sampled them."""
    if directory is None:
        assert look.example is not None  # everything was sampled now
        return look.example
    kept = directory.attempts(job.name, Sampling(measurement.temperatures[0]).name, MEASURED)
    return Example.first(look.examiner.model, look.examiner.prompt, job.problems[0], kept)


def _side(
    measurement: Measurement,
    job: Job,
    look: FirstLook,
    temperature: float,
    side: str,
    trained: Trained | None,
    directory: EvaluationDirectory | None,
    watcher: Watcher,
) -> Evaluation:
    decoding = Sampling(temperature).name
    kept: Kept = InMemory() if directory is None else directory.parts(job.name, decoding, side)
    label = f"{job.name} {decoding}" + (", base" if side == BASE else "")
    sampling, samples = Sampling(temperature, measurement.top_p), measurement.samples(job, temperature)
    with trained.off() if side == BASE and trained is not None else nullcontext():
        return measure(look, job.problems, sampling, samples, kept, watcher, label)
