"""The whole of a run: measure the base, train, measure again, save what was trained and say what may be concluded."""

from collections.abc import Mapping
from dataclasses import replace

from creditree.errors import DataError, ModelError, NonFiniteError, RunError, is_out_of_memory
from creditree.evaluate.accuracy import Evaluation, check_judged
from creditree.evaluate.changed import EXAMPLES
from creditree.evaluate.summary import Summary
from creditree.problem import fingerprint
from creditree.report.guard import GuardResult, GuardSide
from creditree.report.watcher import Watcher
from creditree.runs.atomic import write_json
from creditree.runs.directory import RunDirectory
from creditree.train.examination import examined, guarded
from creditree.train.guard import Guard
from creditree.train.inputs import BASE
from creditree.train.outcome import changed_examples, summary_of, training_problems, write_report
from creditree.train.settings import Parts, Settings
from creditree.train.soundness import cures
from creditree.train.state import State
from creditree.train.trainer import Trainer
from creditree.train.watchdog import watched

EVALUATION = "evaluation.json"
GUARD_FILE = "guard.json"
SUMMARY = "summary.json"


def run_training(parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher) -> Summary:
    """Train into the run directory, continuing from its last checkpoint if it has one.

    Return the summary, which is also written with what was trained and a report. Raises Interrupted where a signal
    stopped it; what is done by then is kept.
    """
    trainer = _trainer(parts, settings, run, watcher)
    with watched(trainer.watchdog):
        return _run(trainer)


def validated_at(
    parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher, tokens: int
) -> tuple[State, Evaluation]:
    """Train into the run directory until `tokens` tokens are sampled, continuing from its last checkpoint.

    Return the counts so far, and what was found on the validation problems. Raises ModelError where nothing could be
    learned any more, and DataError where too few completions could be judged.
    """
    trainer = _trainer(parts, settings, run, watcher)
    with watched(trainer.watchdog):
        trainer.restore()
        _train(trainer, tokens)
        evaluation = trainer.validate()
    check_judged({"validation": evaluation}, _continuing(run))
    return trainer.state, evaluation


def _trainer(parts: Parts, settings: Settings, run: RunDirectory, watcher: Watcher) -> Trainer:
    """Return what trains into the run directory, which then says what it depends on."""
    if parts.inputs is not None:
        parts.inputs.record(run, watcher.message)
    if parts.start is not None:
        parts.start.record(run, None if parts.inputs is None else parts.inputs.base)
    return Trainer(parts, settings, run, watcher)


def _run(trainer: Trainer) -> Summary:
    parts, run = trainer.parts, trainer.run
    trainer.restore()
    before, guard_before = _before(trainer, run), _guard_before(trainer, run)
    if not trainer.is_finished:
        # Steps limited by time are not the same when they are made again, and then what was measured after them is of
        # another adapter.
        run.forget_measurement("trained")
    _train(trainer)
    after = _measured_after(trainer)
    if any(evaluation.num_unjudged for evaluation in before.values()):
        before = examined(trainer, "base")  # who judges may work again: what has no reward yet is judged once more
    run.write_json(EVALUATION, {"before": _correct(before), "after": _correct(after), "digests": _digests(trainer)})
    check_judged(_named({"before": before, "after": after}), _continuing(run))
    summary = summary_of(trainer, before, after)
    if parts.guard is not None and guard_before is not None:
        guard_result = _guard_result(trainer, run, parts.guard, guard_before)
        summary = replace(summary, details=replace(summary.details, guard=guard_result))
    write_report(run, summary)
    run.write_json(EXAMPLES, changed_examples(trainer))
    run.write_json(SUMMARY, summary.to_json())
    trainer.page.write()
    return summary


def _correct(sides: Mapping[str, Evaluation]) -> dict[str, dict[str, int | None]]:
    return {name: evaluation.correct for name, evaluation in sides.items()}


def _digests(trainer: Trainer) -> dict[str, str]:
    """Return what tells the measured questions apart, by id: a file that is edited may use an id for another one."""
    return {problem.id: problem.digest for problem in trainer.settings.measured(trainer.parts.task)}


def _named(sides: Mapping[str, Mapping[str, Evaluation]]) -> dict[str, Evaluation]:
    return {
        f"{name} {side}": evaluation for side, evaluations in sides.items() for name, evaluation in evaluations.items()
    }


def _continuing(run: RunDirectory) -> str:
    return (
        f"what was trained is saved in {run.trained}. When what judges works again, continue with `resume`: it judges "
        "them again, and samples nothing."
    )


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
            write_json(folder / BASE, trainer.parts.inputs.base.to_json())


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
    kept = f"the last sound state, after step {step}," if learned else "what it started from"
    return ModelError(
        f"training stopped: {str(error).rstrip('.')}; {kept} is saved in "
        f"{run.path / trainer.parts.learner.trained.folder}. `resume` would make the same steps again: start a new run "
        f"(`start` {run.path} goes on from what is saved) with "
        f"{cures(trainer.parts, trainer.settings, trainer.last_skip)}."
    )


def _train(trainer: Trainer, pause: int | None = None) -> None:
    try:
        trainer.train(pause)
    except NonFiniteError as error:
        raise _given_up(trainer, error) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"out of memory in step {trainer.state.step + 1}; start a new run with a lower train.max_rows, "
            "train.micro_batch_tokens, method.group or sampling.max_new_tokens."
        ) from error


def _before(trainer: Trainer, run: RunDirectory) -> dict[str, Evaluation]:
    """Return what the run started from, by decoding: measured now, or by an earlier process."""
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
    for name, evaluation in measured.items():
        if evaluation.is_inconclusive:
            trainer.watcher.message(
                f"{name}: {evaluation.num_unjudged} of {evaluation.num_completions} completions of {measured_first} "
                f"got no reward ({evaluation.first_failure}); they are judged again at the end"
            )
    if not run.has(EVALUATION):
        run.write_json(EVALUATION, {"before": _correct(measured), "digests": _digests(trainer)})
    return measured


def _guard_before(trainer: Trainer, run: RunDirectory) -> GuardSide | None:
    guard = trainer.parts.guard
    if guard is None:
        return None
    kept = held_guard(guard, run)
    if kept is not None:
        return kept
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
    saved = run.read_json(GUARD_FILE)
    if saved.get("sha256") != fingerprint(guard.problems):
        raise RunError(
            f"{guard.source} has other guard problems than when run {run.path} was started; put back what it was, or "
            "choose another run directory."
        )
    return GuardSide.from_json(saved.get("before"), str(run.path / GUARD_FILE))


def _guard_result(trainer: Trainer, run: RunDirectory, guard: Guard, before: GuardSide) -> dict[str, object]:
    """Measure the guard set again; return what the summary says of it."""
    after = guarded(trainer, guard, "trained")
    digest = fingerprint(guard.problems)
    run.write_json(GUARD_FILE, {"sha256": digest, "before": before.to_json(), "after": after.to_json()})
    result = GuardResult.of(before, after, guard.tolerance, trainer.key.at("guard"))
    training = training_problems(trainer)
    seen = None if training is None else {problem.question for problem in training}
    return {
        "source": guard.source,
        "sha256": digest,
        **result.to_json(),
        "also_in_training": None if seen is None else sum(problem.question in seen for problem in guard.problems),
        "notes": list(guard.notes),
    }
