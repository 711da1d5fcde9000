"""Measuring what a run started from and what it trained: every judged completion is kept in the run directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation, check_judged
from creditree.evaluate.example import Example
from creditree.evaluate.first_look import FirstLook
from creditree.evaluate.session import measure
from creditree.report.guard import GuardSide
from creditree.runs.directory import Side
from creditree.train.guard import Guard
from creditree.train.trainer import Trainer

GUARD = "guard"


def examined(trainer: Trainer, side: Side) -> dict[str, Evaluation]:
    """Return what was found on the held-out problems, by decoding; what is kept of an earlier process is not sampled.

    Raises RunError where completions of other problems are kept.
    """
    settings, evaluations = trainer.settings, {}
    problems = settings.measured(trainer.parts.task)
    look = FirstLook(trainer.examiner, trainer.watcher.message, shows=side == "base")
    with as_measured(trainer, side):
        for temperature in settings.evaluation_temperatures:
            name, sampling = Sampling(temperature).name, Sampling(temperature, settings.sampling.top_p)
            kept = trainer.run.measurement(name, side)
            evaluations[name] = measure(look, problems, sampling, 1, kept, trainer.watchdog, f"{name}, {side}")
    return evaluations


def first_example(trainer: Trainer) -> Example:
    """Return the first prompt and completion that were measured before training. Raises RunError where none is kept."""
    settings, parts = trainer.settings, trainer.parts
    first = settings.measured(parts.task)[0]
    kept = trainer.run.attempts(Sampling(settings.evaluation_temperatures[0]).name, "base")
    return Example.first(parts.model, parts.task.prompt, first, kept)


def guarded(trainer: Trainer, guard: Guard, side: Side) -> GuardSide:
    """Return the guard set's greedy 0/1 and losses. The completions are kept as those of a decoding called "guard"."""
    examiner = replace(trainer.examiner, verifier=guard.verifier, prompt=guard.prompt)
    kept = trainer.run.measurement(GUARD, side)
    with as_measured(trainer, side):
        evaluation = measure(examiner, guard.problems, Sampling(0.0), 1, kept, trainer.watchdog, f"{GUARD}, {side}")
        cure = "when what judges works again, continue with `resume`."
        check_judged({f"guard set, {side}": evaluation}, cure)
        return GuardSide(evaluation.correct, guard.losses(trainer.parts.model, trainer.parts.learner))


@contextmanager
def as_measured(trainer: Trainer, side: Side) -> Iterator[None]:
    """Run the block, whose seconds are of measuring, with the weights of one side.

    "base" is what the run started from: the base model, or the adapter that it goes on learning.
    """
    with trainer.state.seconds.phase("evaluate"):
        start, trained = trainer.parts.start, trainer.parts.learner.trained
        if side == "trained" or (start is not None and trainer.state.step == 0):
            yield
        elif start is None:
            with trained.off():
                yield
        else:
            learned = trained.state()
            trained.load(start.folder)
            try:
                yield
            finally:
                trained.load_state(learned)
