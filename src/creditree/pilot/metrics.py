"""Metrics of the user's own, before and after: a Python function of the completions, or a column of the problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from creditree.errors import ConfigError, DataError, did_you_mean
from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.evaluate.statistics import Difference, paired_mean_difference
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.verify.locate import load_reward
from creditree.verify.verifier import Answer, Verifier, closing

COLUMN = "column:"
TRIED = 8
"""Problems that a function is tried on before anything is trained."""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """A metric's mean over the test problems, before and after, and the paired difference.

    `problems`: on how many it could be computed, on both sides.
    """

    name: str
    before: float
    after: float
    difference: Difference
    problems: int


def check_metric(metric: str, problems: Sequence[Problem]) -> None:
    """Raise ConfigError or DataError where a metric cannot be computed.

    An unknown column, or one that does not hold a number in every row; a function that is not there, or gives no number
    for the reference answers of the first few problems.
    """
    columns = tuple(problems[0].columns)
    if metric.startswith(COLUMN):
        name = metric.removeprefix(COLUMN)
        if name not in columns:
            raise ConfigError(f"`metrics` {metric}: the problems have no such column.{did_you_mean(name, columns)}")
        _worth(name, problems)
        return
    if ":" not in metric:
        raise ConfigError(f"`metrics` {metric}: write file.py:function, package.module:function or column:NAME.")
    tried = [Answer(problem, problem.question, problem.answers[0]) for problem in problems[:TRIED]]
    with closing(load_reward(metric)) as function:
        verdicts = function.judge(tried)
    if all(verdict.reward is None for verdict in verdicts):
        raise ConfigError(f"`metrics` {metric} gives no number for the reference answers: {verdicts[0].detail}")


def measure_metric(
    metric: str, problems: Sequence[Problem], prompts: Sequence[str], before: Evaluation, after: Evaluation, key: Key
) -> MetricResult:
    """Return a metric before and after, from each problem's first completion (`texts` must have been kept).

    ``column:NAME``: the number in that column where the problem is solved, else 0: what the solved problems are worth.
    A function is called as a reward function is (`creditree.verify.RewardFunction`), once a side; a problem for which
    it gives no number on one of them is left out. Raises DataError where none is left, or the column holds no number.
    """
    if metric.startswith(COLUMN):
        worth = zip(problems, _worth(metric.removeprefix(COLUMN), problems), strict=True)
        firsts = [(value, before.attempts[problem.id][0], after.attempts[problem.id][0]) for problem, value in worth]
        judged = [(value, a, b) for value, a, b in firsts if None not in (a.is_correct, b.is_correct)]
        old = [value * is_correct(a) for value, a, _ in judged]
        new = [value * is_correct(b) for value, _, b in judged]
        return _measured(metric, old, new, key)
    with closing(load_reward(metric)) as function:
        sides = [
            _called(function, problems, prompts, {name: own[0] for name, own in side.attempts.items()})
            for side in (before, after)
        ]
    pairs = [(a, b) for a, b in zip(*(values for values, _ in sides), strict=True) if a is not None and b is not None]
    if not pairs:
        raise DataError(f"`metrics` {metric} gave no number for any problem: {sides[0][1] or sides[1][1]}")
    return _measured(metric, [a for a, _ in pairs], [b for _, b in pairs], key)


def _worth(column: str, problems: Sequence[Problem]) -> list[float]:
    values = []
    for problem in problems:
        try:
            values.append(float(str(problem.columns[column])))
        except (KeyError, ValueError):
            value = problem.columns.get(column)
            raise DataError(f"Problem {problem.id} has {value!r} in column '{column}', which is no number.") from None
        if not isfinite(values[-1]):
            raise DataError(f"Problem {problem.id} has {values[-1]} in column '{column}': a worth must be finite.")
    return values


def _called(
    function: Verifier, problems: Sequence[Problem], prompts: Sequence[str], texts: Mapping[str, Attempt]
) -> tuple[list[float | None], str]:
    answers = [
        Answer(problem, prompt, texts[problem.id].text) for problem, prompt in zip(problems, prompts, strict=True)
    ]
    verdicts = function.judge(answers)
    return [verdict.reward for verdict in verdicts], next(
        (verdict.detail for verdict in verdicts if verdict.reward is None), ""
    )


def _measured(name: str, old: Sequence[float], new: Sequence[float], key: Key) -> MetricResult:
    change = paired_mean_difference(old, new, key.at("metric", name))
    return MetricResult(name, float(np.mean(old)), float(np.mean(new)), change, len(old))
