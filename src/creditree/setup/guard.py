"""The guard set of a configuration."""

from creditree.config.guard import GuardBlock
from creditree.errors import DataError, did_you_mean
from creditree.problem import Problem
from creditree.setup.build import template
from creditree.setup.grading import build_verifier
from creditree.tasks.cells import is_missing
from creditree.tasks.table import Columns, Table, load_table
from creditree.tasks.task import PromptTemplate
from creditree.text import shown
from creditree.train.guard import Guard
from creditree.verify.verifier import Verifier


def guard_table(block: GuardBlock, default: PromptTemplate) -> Table:
    """Return the problems of the guard's file, all as test problems; `default`: the task's wording of the
    prompt, of a mixture the first's.

    Raises DataError or ConfigError.
    """
    prompt = default.first if block.prompt is None else template(block.prompt, default.first)
    columns = Columns(block.question, block.answer, id=block.id, keys="guard.{}")
    return load_table(test_path=block.path, columns=columns, validation=0.0, prompt=prompt)


def build_guard(block: GuardBlock, default: PromptTemplate, verifier: Verifier) -> Guard | None:
    """Return the guard set, None without a path; `default` and `verifier` are the task's wording and the run's reward.

    Raises DataError for problems that cannot be used or have no target, ConfigError for the prompt or the reward.
    """
    if block.path is None:
        return None
    table = guard_table(block, default)
    problems = table.held_out("test", block.problems)
    return Guard(
        source=block.path,
        problems=problems,
        targets=tuple(_target(problem, block.target) for problem in problems),
        prompt=table.prompt,
        verifier=verifier if block.reward is None else build_verifier(block.reward),
        tolerance=None if block.target is None else block.tolerance,
        notes=table.notes,
    )


def _target(problem: Problem, column: str | None) -> str:
    if column is None:
        return problem.answers[0]
    if column not in problem.columns:
        raise DataError(
            f"Guard problem '{problem.id}' has no column '{column}' for the target: set guard.target to the column "
            f"that holds it.{did_you_mean(column, problem.columns)}"
        )
    value = problem.columns[column]
    if not isinstance(value, str | int | float) or is_missing(value):
        raise DataError(
            f"Guard problem '{problem.id}' has no text in column '{column}' (it holds {shown(value)}): "
            "fill it or drop the row."
        )
    return str(value)
