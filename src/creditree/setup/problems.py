"""What a method, and a warm start, read of training problems besides questions and answers: solutions, and columns."""

import json
from collections.abc import Iterator
from hashlib import sha256

from creditree.config.schema import RunConfig
from creditree.config.task import TaskConfig
from creditree.config.warm_start import WarmStartBlock
from creditree.errors import CreditreeError, DataError, did_you_mean
from creditree.methods import AXES, Method
from creditree.problem import Problem
from creditree.setup.build import build_task
from creditree.tasks.mixture import listed
from creditree.tasks.task import Task


def wanted_solutions(config: RunConfig) -> list[str]:
    """Return what of a configuration works on worked solutions, as its keys say it."""
    method = config.method.build()
    warm = ["warm_start"] if config.warm_start.steps else []
    return warm + [
        f"method.{axis} '{piece.name}'" for axis, piece in zip(AXES, method.pieces, strict=True) if piece.needs_solution
    ]


def warm_start_words(warm: WarmStartBlock) -> str:
    """Return what a warm start will do, in a sentence."""
    return (
        f"Warm start: {warm.steps} steps come first, each one update on the worked solutions of {warm.problems} "
        "problems (log-likelihood); they sample nothing."
    )


def check_problems(config: RunConfig, *, offline: bool = False) -> None:
    """Raise DataError where training problems lack a solution or a column that the configuration works on.

    Problems are read only where something is wanted of them; `offline`: not over the network.
    """
    method, wanted = config.method.build(), wanted_solutions(config)
    if not wanted and not any(piece.columns for piece in method.pieces):
        return
    if offline and config.task.is_on_hub:
        return
    task = build_task(config.task)
    for problem in training_problems(task):
        if wanted and problem.solution is None:
            raise DataError(
                f"{wanted[0]} works on worked solutions, and training problem '{problem.id}' of {task.name} has none: "
                "give every row of its file one in the column `solution` (task.solution names another), or do without."
            )
        for piece in method.pieces:
            for column in piece.columns:
                _check_column(piece.name, column, problem)
    fitted_to(method, task)


def _check_column(piece: str, column: str, problem: Problem) -> None:
    if column not in problem.columns:
        raise DataError(
            f"'{piece}' reads the column '{column}' of the problems, and training problem '{problem.id}' has none: add "
            f"it, or name another column with method.column.{did_you_mean(column, problem.columns)}"
        )


def training_problems(task: Task) -> Iterator[Problem]:
    """Yield every training problem once, by index; of those that are generated without end the first."""
    return listed(task, 1)


def trained_on(config: TaskConfig) -> tuple[Problem, ...] | None:
    """Return all training problems of a task, as far as files that are still there have them; None: not known.

    Nothing is fetched, and no code of others runs.
    """
    if config.is_on_hub or config.locations:
        return None
    try:
        problems = tuple(listed(build_task(config)))
    except CreditreeError:
        return None
    return problems or None


def fitted_to(method: Method, task: Task) -> Method:
    """Return the method with what its pieces take from the training problems."""
    if not any(piece.columns for piece in method.pieces):
        return method
    return method.of_problems(list(training_problems(task)))


def read_digest(config: RunConfig, method: Method, task: Task) -> str | None:
    """Return the sha256 of what is read of the training problems besides question and answers; None for nothing."""
    columns = [column for piece in method.pieces for column in piece.columns]
    solutions = bool(wanted_solutions(config))
    if not columns and not solutions:
        return None
    read = [
        [problem.id, problem.solution if solutions else None, *(str(problem.columns.get(column)) for column in columns)]
        for problem in training_problems(task)
    ]
    return sha256(json.dumps(read, separators=(",", ":")).encode()).hexdigest()
