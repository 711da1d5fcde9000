"""What came of a run: its summary and its report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.changed import examples
from creditree.evaluate.example import Example
from creditree.evaluate.summary import (
    BestValidation,
    CompletionCounts,
    DataDigests,
    Decoding,
    StepCounts,
    Summary,
    SummaryDetails,
    WarmStarted,
)
from creditree.problem import Problem, fingerprint, ids_by_task
from creditree.report.curves import Series, plot_curves
from creditree.report.document import Code, Heading, to_markdown
from creditree.report.rewards import RewardChange
from creditree.report.singles import SingleChange, single_changes
from creditree.report.summary import summary_markdown
from creditree.runs.directory import RunDirectory
from creditree.train.examination import first_example
from creditree.train.no_update import Taught, nothing_learned
from creditree.train.pace import eager_words
from creditree.train.settings import WarmStart
from creditree.train.trainer import Trainer
from creditree.train.unrewarded import unrewarded_words

REPORT = "report.md"
CURVE = "reward.png"
SMOOTHED = 10
"""Steps that one point of the curve averages."""
Sides = Mapping[str, Evaluation]
"""What was measured, by decoding."""


def summary_of(trainer: Trainer, before: Sides, after: Sides) -> Summary:
    """Return the summary of a run that has ended; decodings without a judged pair are left out."""
    state, counts = trainer.state, trainer.state.ledger
    return Summary(
        method=trainer.parts.method.label,
        task=trainer.parts.task.name,
        decoding={name: Decoding.of(before[name].correct, evaluation.correct) for name, evaluation in after.items()},
        seconds={
            "total": trainer.elapsed_s,
            "train": state.seconds.training_wall,
            "train_cpu": state.seconds.training_cpu,
            **state.seconds.wall,
        },
        tokens={
            "sampled": counts.sampled,
            "decoded": counts.decoded,
            "unique_prefixes": counts.unique_prefixes,
            "forwarded": counts.forwarded,
            "in_loss": counts.in_loss,
        },
        rewards=_rewards(trainer, before, after),
        singles=_singles(trainer, before, after),
        tasks=_tasks(trainer, before, after),
        details=_details(trainer, after),
    )


def _details(trainer: Trainer, after: Sides) -> SummaryDetails:
    """Return what a summary holds besides the figures."""
    state, parts, counts = trainer.state, trainer.parts, trainer.state.ledger
    warm = warm_started(trainer.settings.warm_start, trainer.run.metrics())
    own = max(0, trainer.settings.own_step(state.step))
    updates = 0 if warm is None else warm.updates
    best = state.best_reward
    return SummaryDetails(
        steps=StepCounts(state.step, counts.updates, counts.no_signal, counts.skipped),
        completions=CompletionCounts(
            counts.completions,
            counts.failed_verdicts,
            counts.truncated,
            counts.unparsable,
            counts.timeouts,
            counts.crashes,
        ),
        truncated={name: evaluation.num_truncated for name, evaluation in after.items()},
        statuses={
            name: {str(status): n for status, n in evaluation.statuses.items()} for name, evaluation in after.items()
        },
        unjudged={name: evaluation.num_unjudged for name, evaluation in after.items()},
        mean_reward={name: evaluation.mean_reward for name, evaluation in after.items()},
        grading=parts.verifier.rules(),
        first=first_example(trainer),
        notes=_notes(trainer),
        data=_data(trainer),
        texts=parts.model.texts.to_json() | {"chat": _asked(trainer)},
        base_model=None if parts.inputs is None else parts.inputs.base.to_json(),
        warm_start=warm,
        nothing_learned=nothing_learned(
            counts, own, trainer.settings.max_new_tokens, Taught.of(trainer.run.metrics(), parts.method), updates
        ),
        eager=eager_words(counts),
        unrewarded=unrewarded_words(counts, state.unrewarded),
        start=None if parts.start is None else parts.start.to_json(),
        validation=None if best is None else BestValidation(best, state.best_step),
    )


def warm_started(warm: WarmStart, metrics: Sequence[Mapping[str, Any]]) -> WarmStarted | None:
    """Return what the warm start did; None where there was none."""
    made = [record for record in metrics if record.get("warm_start")]
    if not made:
        return None
    first, last = made[0]["loss"], made[-1]["loss"]
    return WarmStarted(len(made), warm.problems, int(made[-1]["updates"]), first, last)


def _rewards(trainer: Trainer, before: Sides, after: Sides) -> dict[str, RewardChange]:
    """Return the mean rewards by decoding, where rewards are not all 0 or 1."""
    key = trainer.key.at("reward")
    changes = {name: RewardChange.of(before[name], evaluation, key.at(name)) for name, evaluation in after.items()}
    return {name: change for name, change in changes.items() if change is not None}


def _singles(trainer: Trainer, before: Sides, after: Sides) -> dict[str, dict[str, SingleChange]]:
    """Return each of several rewards by decoding; nothing where there is one."""
    names = trainer.parts.verifier.singles
    return (
        {name: single_changes(names, before[name], evaluation) for name, evaluation in after.items()} if names else {}
    )


def _tasks(trainer: Trainer, before: Sides, after: Sides) -> dict[str, dict[str, Decoding]]:
    """Return the accuracies of each task of a mixture, by decoding; those without a judged pair are left out."""
    measured = trainer.settings.measured(trainer.parts.task)
    decodings: dict[str, dict[str, Decoding]] = {}
    for task, ids in ids_by_task(measured).items():
        sides = {
            name: (before[name].only(ids).correct, evaluation.only(ids).correct) for name, evaluation in after.items()
        }
        decodings[task] = {name: Decoding.of(old, new) for name, (old, new) in sides.items() if _has_pair(old, new)}
    return decodings


def _has_pair(old: Mapping[str, int | None], new: Mapping[str, int | None]) -> bool:
    return any(value is not None and old[name] is not None for name, value in new.items())


def _asked(trainer: Trainer) -> bool:
    """Return whether prompts were in the model's chat format."""
    parts = trainer.parts
    return parts.task.prompt.in_chat_format(parts.model.texts)


def _notes(trainer: Trainer) -> list[str]:
    settings = trainer.settings
    seen = settings.evaluation_split == "validation" and settings.validation.every > 0
    chosen = "The problems measured afterwards chose the adapter too (validation.every): it looks better than it is."
    return [*trainer.parts.task.notes, *([chosen] if seen else []), *trainer.run.notes]


def _data(trainer: Trainer) -> DataDigests:
    measured, training = trainer.settings.measured(trainer.parts.task), training_problems(trainer)
    digest = None if training is None else fingerprint(training)
    return DataDigests(trainer.settings.evaluation_split, len(measured), fingerprint(measured), digest)


def training_problems(trainer: Trainer) -> list[Problem] | None:
    """Return all training problems, by id; None where they are generated without end."""
    task = trainer.parts.task
    if task.num_training is None:
        return None
    problems = (task.training(trainer.key.at("problems"), index) for index in range(task.num_training))
    return sorted(problems, key=lambda problem: problem.id)


def changed_examples(trainer: Trainer) -> dict[str, list[dict[str, Any]]]:
    """Return some problems that are solved after training and were not before, and of the reverse, with both texts."""
    settings, run = trainer.settings, trainer.run
    decoding = Sampling(settings.evaluation_temperatures[0]).name
    sides = (Evaluation.of(run.attempts(decoding, "base")), Evaluation.of(run.attempts(decoding, "trained")))
    better, worse = examples(settings.measured(trainer.parts.task), *sides)
    return {"better": [shown.to_json() for shown in better], "worse": [shown.to_json() for shown in worse]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def write_report(run: RunDirectory, summary: Summary) -> None:
    """Write the report, with the curve of the rewards."""
    records: list[dict[str, Any]] = [record for record in run.metrics() if _is_number(record.get("reward_mean"))]
    picture = ""
    if records:
        rewards = np.array([record["reward_mean"] for record in records])
        width = min(SMOOTHED, len(rewards))
        smooth = np.convolve(rewards, np.full(width, 1.0 / width), mode="valid")
        plot_curves(
            [Series(summary.method, [([record["step"] for record in records[width - 1 :]], smooth)])],
            run.path / CURVE,
            x_label="training step",
            y_label=f"mean reward of the sampled groups, last {width} steps",
            title=f"{summary.method} on {summary.task}",
        )
        picture = f"\n![reward by step]({CURVE})\n"
    first = summary.details.first
    run.write_text(REPORT, summary_markdown(summary) + picture + ("" if first is None else _first(first)))


def _first(example: Example) -> str:
    blocks = Heading("The first prompt and completion, before training"), Code(str(example))
    return f"\n{to_markdown(blocks)}"
