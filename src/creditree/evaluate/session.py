"""Measuring piece by piece: what is done is kept at once, and a measurement that was stopped goes on where it was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from creditree.engines.engine import Sampling
from creditree.engines.pulse import Told
from creditree.errors import RunError
from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.problem import Problem
from creditree.report.watcher import Watcher
from creditree.runs.attempts import Attempt


class Examines(Protocol):
    """Samples and judges completions, as an `Examiner` does."""

    def pieces(self, problems: Sequence[Problem], samples: int) -> Sequence[Sequence[Problem]]:
        """Return the problems in pieces that are sampled together."""

    def examine(
        self, problems: Sequence[Problem], sampling: Sampling, samples: int, told: Told | None = None
    ) -> list[Attempt]:
        """Return the judged completions of one piece; `told` hears how far they are sampled."""

    def judge_again(self, problems: Mapping[str, Problem], attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return completions, with their texts, as they are judged now."""


Revision = Callable[[Sequence[Attempt]], Sequence[Attempt]]
"""Judges completions again, in their order."""


class Kept(Protocol):
    """Where judged completions are kept: a folder, or memory."""

    def read(self) -> list[Attempt]:
        """Return what is there already."""

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Keep some more, all or none of them."""

    def revise(self, judged: Revision) -> None:
        """Put what `judged` makes of the completions without a reward in their place."""


class InMemory:
    """Keeps nothing beyond the process."""

    def read(self) -> list[Attempt]:
        """Return nothing: a measurement in memory starts anew."""
        return []

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Do nothing: the caller holds what it needs."""

    def revise(self, judged: Revision) -> None:
        """Do nothing: a measurement in memory holds nothing from before."""


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
    sampled does not depend on what was there: every completion has its own random numbers. What is there without a
    reward, because who judges had failed, is judged again. Raises RunError where `kept` holds completions of other
    problems.
    """
    wanted = {problem.id: problem for problem in problems}
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
    if any(attempt.reward is None for attempt in old):
        kept.revise(lambda attempts: examiner.judge_again(wanted, attempts))
        old = kept.read()
    measured = list(old)
    correct = sum(map(is_correct, old))
    total = len(problems) * samples
    unjudged = sum(attempt.is_correct is None for attempt in old)
    watcher.measured(label, 0, len(old), correct, total, unjudged)
    for piece in examiner.pieces([problem for problem in problems if problem.id not in done], samples):
        attempts = examiner.examine(piece, sampling, samples, partial(watcher.beat, label))
        kept.add(attempts)
        measured += [replace(attempt, text="") for attempt in attempts]
        correct += sum(map(is_correct, attempts))
        unjudged += sum(attempt.is_correct is None for attempt in attempts)
        watcher.measured(label, len(measured) - len(old), len(old), correct, total, unjudged)
    order = {problem.id: place for place, problem in enumerate(problems)}
    return Evaluation.of(sorted(measured, key=lambda attempt: order[attempt.problem_id]))
