"""The whole of a run: measure the base, train, measure again, save what was trained and say what may be concluded."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from creditree.errors import DataError, ModelError, NonFiniteError, RunError
from creditree.evaluate.accuracy import Evaluation
from creditree.problem import Problem, fingerprint
from creditree.report.curves import Series, plot_curves
from creditree.report.guard import GuardResult, GuardSide
from creditree.report.progress import Watcher
from creditree.report.rewards import RewardChange
from creditree.report.summary import Decoding, Summary, summary_markdown
from creditree.runs.atomic import write_json
from creditree.runs.directory import RunDirectory
from creditree.train.examination import examined, guarded
from creditree.train.guard import Guard
from creditree.train.inputs import BASE
from creditree.train.settings import Parts, Settings
from creditree.train.soundness import cures
from creditree.train.trainer import Trainer

EVALUATION = "evaluation.json"
GUARD_FILE = "guard.json"
SUMMARY = "summary.json"
REPORT = "report.md"
CURVE = "reward.png"
SMOOTHED = 10
"""Steps that one point of the curve averages."""


def run_training(parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher) -> Summary:
    """Train into the run directory, continuing from its last checkpoint if it has one.

    Return the summary, which is also written with what was trained and a report. Raises Interrupted where a signal
    stopped it; what is done by then is kept.
    """
    if parts.inputs is not None:
        parts.inputs.record(run, watcher.message)
    if parts.start is not None:
        parts.start.record(run, None if parts.inputs is None else parts.inputs.base)
    trainer = Trainer(parts, settings, run, watcher)
    trainer.restore()
    before, guard_before = _before(trainer, run), _guard_before(trainer, run)
    if not trainer.is_finished:
        # Steps limited by time are not the same when they are made again, and then what was measured after them is of
        # another adapter.
        run.forget_measurement("trained")
    _train(trainer)
    after = _measured_after(trainer)
    run.write_json(EVALUATION, {"before": before, "after": {name: found.correct for name, found in after.items()}})
    summary = replace(_summary(trainer, before, after), rewards=_rewards(trainer, after))
    if parts.guard is not None and guard_before is not None:
        found = _guard_result(trainer, run, parts.guard, guard_before)
        summary = replace(summary, extra={**summary.extra, "guard": found})
    _report(run, summary)
    run.write_json(SUMMARY, summary.to_json())
    return summary


def _measured_after(trainer: Trainer) -> dict[str, Evaluation]:
    """Save what was trained, and measure it. Where it cannot even be sampled from, go back to what is sound first."""
    trainer.use_best()
    _publish(trainer)
    trainer.watcher.message("measuring the trained model")
    try:
        return examined(trainer, "trained")
    except NonFiniteError as error:
        step = trainer.keeper.back()
        if step is None:
            raise ModelError(_no_way_back(trainer, error)) from error
        trainer.watcher.message(f"what was trained cannot be used: {error} Going back to the state after step {step}.")
        trainer.run.forget_measurement("trained")
        _publish(trainer)
        return examined(trainer, "trained")


def _publish(trainer: Trainer) -> None:
    trained = trainer.parts.learner.trained
    with trainer.run.published(trained.folder) as folder:
        trained.save(folder)
        if trainer.parts.inputs is not None:
            write_json(folder / BASE, asdict(trainer.parts.inputs.base))


def _no_way_back(trainer: Trainer, error: NonFiniteError) -> str:
    return (
        f"training stopped: {str(error).rstrip('.')}. No earlier state of the weights was kept; start a new run with "
        f"{cures(trainer.parts, trainer.settings, trainer.last_skip)}, and with a lower log.checkpoint_every."
    )


def _given_up(trainer: Trainer, error: NonFiniteError) -> ModelError:
    """Go back to the last sound state, and save it; return what to tell the user."""
    step, run = trainer.keeper.back(), trainer.run
    if step is None:
        return ModelError(_no_way_back(trainer, error))
    _publish(trainer)
    learned = step > 0 and trainer.state.ledger.updates > 0
    kept = f"the state after step {step}, the last sound one, is kept" if learned else "nothing was learned before that"
    return ModelError(
        f"training stopped: {str(error).rstrip('.')}; {kept}, and saved in "
        f"{run.path / trainer.parts.learner.trained.folder}. --resume would make the same steps again: start a new run "
        f"(--from {run.path} goes on from what is saved) with "
        f"{cures(trainer.parts, trainer.settings, trainer.last_skip)}."
    )


def _train(trainer: Trainer) -> None:
    try:
        trainer.train()
    except NonFiniteError as error:
        raise _given_up(trainer, error) from error
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"out of memory in step {trainer.state.step + 1}; start a new run with a lower train.max_rows, "
            "train.micro_batch_tokens, method.group or sampling.max_new_tokens."
        ) from error


def _before(trainer: Trainer, run: RunDirectory) -> dict[str, dict[str, int]]:
    """Return the 0/1 of what the run started from, by decoding and problem: measured now, or by an earlier process."""
    start = trainer.parts.start
    measured_first = "the base model" if start is None else start.words
    if not run.has(EVALUATION):
        trainer.watcher.message(f"measuring {measured_first}")
    measured = examined(trainer, "base")
    first = next(iter(measured.values()))
    if first.num_unjudged == first.num_completions:
        run.forget_measurement("base")  # a corrected reward function is to judge them anew
        raise DataError(
            f"no completion of {measured_first} got a reward, so there is nothing to learn: {first.first_failure}"
        )
    before = {name: found.correct for name, found in measured.items()}
    if not run.has(EVALUATION):
        run.write_json(EVALUATION, {"before": before})
    return before


def _guard_before(trainer: Trainer, run: RunDirectory) -> GuardSide | None:
    guard = trainer.parts.guard
    if guard is None:
        return None
    held = held_guard(guard, run)
    if held is not None:
        return held
    trainer.watcher.message("measuring the guard set")
    before = guarded(trainer, guard, "base")
    run.write_json(GUARD_FILE, {"sha256": fingerprint(guard.problems), "before": before.to_json()})
    return before


def held_guard(guard: Guard, run: RunDirectory) -> GuardSide | None:
    """Return what an earlier process measured of the guard set before training; None: nothing yet.

    Raises RunError where its problems were others.
    """
    if not run.has(GUARD_FILE):
        return None
    held = run.read_json(GUARD_FILE)
    if held.get("sha256") != fingerprint(guard.problems):
        raise RunError(
            f"{guard.source} has other guard problems than when run {run.path} was started; put back what it was, or "
            "choose another run directory."
        )
    return GuardSide.from_json(held.get("before"), str(run.path / GUARD_FILE))


def _guard_result(trainer: Trainer, run: RunDirectory, guard: Guard, before: GuardSide) -> dict[str, object]:
    """Measure the guard set again; return what the summary says of it."""
    after = guarded(trainer, guard, "trained")
    digest = fingerprint(guard.problems)
    run.write_json(GUARD_FILE, {"sha256": digest, "before": before.to_json(), "after": after.to_json()})
    result = GuardResult.of(before, after, guard.tolerance, trainer.key.at("guard"))
    training = _training(trainer)
    seen = None if training is None else {problem.question for problem in training}
    return {
        "source": guard.source,
        "sha256": digest,
        **result.to_json(),
        "also_in_training": None if seen is None else sum(problem.question in seen for problem in guard.problems),
        "notes": list(guard.notes),
    }


def _summary(trainer: Trainer, before: dict[str, dict[str, int]], after: dict[str, Evaluation]) -> Summary:
    state = trainer.state
    counts = state.ledger
    extra: dict[str, object] = {
        "steps": {"done": state.step, "updates": counts.updates, "no_signal": counts.no_signal},
        "completions": {
            "sampled": counts.completions,
            "without_reward": counts.failed_verdicts,
            "unparsable": counts.unparsable,
            "timeouts": counts.timeouts,
            "crashes": counts.crashes,
        },
        "truncated": {name: found.num_truncated for name, found in after.items()},
        "statuses": {name: dict(found.statuses) for name, found in after.items()},
        "unjudged": {name: found.num_unjudged for name, found in after.items()},
        "mean_reward": {name: found.mean_reward for name, found in after.items()},
        "grading": trainer.parts.verifier.rules(),
        "notes": _notes(trainer),
        "data": _data(trainer),
        "texts": trainer.parts.model.texts.to_json() | {"chat": _asked(trainer)},
    }
    if trainer.parts.start is not None:
        extra["start"] = trainer.parts.start.to_json()
    if state.best_reward is not None:
        extra["validation"] = {"best_reward": state.best_reward, "best_step": state.best_step}
    return Summary(
        method=trainer.parts.method.name,
        task=trainer.parts.task.name,
        decoding={name: Decoding.of(before[name], found.correct) for name, found in after.items()},
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
        extra=extra,
    )


def _rewards(trainer: Trainer, after: Mapping[str, Evaluation]) -> dict[str, RewardChange]:
    """Return the mean rewards by decoding, where rewards are not all 0 or 1."""
    sides = {name: Evaluation.of(trainer.run.attempts(name, "base")) for name in after}
    key = trainer.key.at("reward")
    changes = {name: RewardChange.of(sides[name], found, key.at(name)) for name, found in after.items()}
    return {name: change for name, change in changes.items() if change is not None}


def _asked(trainer: Trainer) -> bool:
    """Return whether prompts were in the model's chat format."""
    parts = trainer.parts
    return parts.task.prompt.in_chat_format(parts.model.texts)


def _notes(trainer: Trainer) -> list[str]:
    settings = trainer.settings
    seen = settings.evaluation_split == "validation" and settings.validation.every > 0
    chosen = "The problems measured afterwards chose the adapter too (validation.every): it looks better than it is."
    return [*trainer.parts.task.notes, *([chosen] if seen else []), *trainer.run.notes]


def _data(trainer: Trainer) -> dict[str, object]:
    """Return which problems were measured and trained on; a set of training problems has one sha256 in any order."""
    measured, training = trainer.settings.measured(trainer.parts.task), _training(trainer)
    return {
        "split": trainer.settings.evaluation_split,
        "n": len(measured),
        "sha256": fingerprint(measured),
        "training_sha256": None if training is None else fingerprint(training),
    }


def _training(trainer: Trainer) -> list[Problem] | None:
    """Return all training problems, by id; None where they are generated without end."""
    task = trainer.parts.task
    if task.num_training is None:
        return None
    problems = (task.training(trainer.key.at("problems"), index) for index in range(task.num_training))
    return sorted(problems, key=lambda problem: problem.id)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _report(run: RunDirectory, summary: Summary) -> None:
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
    run.write_text(REPORT, summary_markdown(summary) + picture)
