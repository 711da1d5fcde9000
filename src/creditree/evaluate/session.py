"""Measuring piece by piece: what is done is kept at once, and a measurement that was stopped goes on where it was."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from creditree.engines.engine import Sampling
from creditree.errors import RunError
from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.problem import Problem
from creditree.runs.attempts import Attempt


class Examines(Protocol):
    """Samples and judges completions, as an `Examiner` does."""

    def pieces(self, problems: Sequence[Problem], samples: int) -> Sequence[Sequence[Problem]]:
        """Return the problems in pieces that are sampled together."""

    def examine(self, problems: Sequence[Problem], sampling: Sampling, samples: int) -> list[Attempt]:
        """Return the judged completions of one piece."""


class Kept(Protocol):
    """Where judged completions are kept: a folder, or memory."""

    def read(self) -> list[Attempt]:
        """Return what is there already."""

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Keep some more, all or none of them."""


class InMemory:
    """Keeps nothing beyond the process."""

    def read(self) -> list[Attempt]:
        """Return nothing: a measurement in memory starts anew."""
        return []

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Do nothing: the caller holds what it needs."""


class Watcher(Protocol):
    """Whoever shows the progress of a measurement."""

    def update(self, label: str, new: int, old: int, correct: int, total: int) -> None:
        """Completions of `label` sampled since it began (`new`) and found there (`old`), correct ones, and all."""


class Unwatched:
    """Shows nothing."""

    def update(self, label: str, new: int, old: int, correct: int, total: int) -> None:
        """Show nothing."""


def measure(
    examiner: Examines,
    problems: Sequence[Problem],
    sampling: Sampling,
    samples: int,
    kept: Kept,
    watcher: Watcher,
    label: str,
) -> Evaluation:
    """Return `samples` judged completions of every problem: those in `kept`, and the others sampled and added to it.

    A problem is done when all its completions are there, since a piece is kept as a whole or not at all. What is
    sampled does not depend on what was there: every completion has its own random numbers. Raises RunError where
    `kept` holds completions of other problems.
    """
    wanted = {problem.id for problem in problems}
    old = kept.read()
    done: dict[str, int] = {}
    for attempt in old:
        done[attempt.problem_id] = done.get(attempt.problem_id, 0) + 1
    foreign = next((name for name, count in done.items() if name not in wanted or count != samples), None)
    if foreign is not None:
        raise RunError(
            f"{label}: the saved completions of problem '{foreign}' are not {samples} of a problem that is asked now; "
            "choose another directory."
        )
    found = list(old)
    correct = sum(map(is_correct, old))
    total = len(problems) * samples
    watcher.update(label, 0, len(old), correct, total)
    for piece in examiner.pieces([problem for problem in problems if problem.id not in done], samples):
        attempts = examiner.examine(piece, sampling, samples)
        kept.add(attempts)
        found += [replace(attempt, text="") for attempt in attempts]
        correct += sum(map(is_correct, attempts))
        watcher.update(label, len(found) - len(old), len(old), correct, total)
    order = {problem.id: place for place, problem in enumerate(problems)}
    return Evaluation.of(sorted(found, key=lambda attempt: order[attempt.problem_id]))
