"""Saved evaluations (and runs beside them) side by side: paired by problem, and by random numbers where seeds agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.errors import RunError
from creditree.evaluate.averages import average, average_difference
from creditree.evaluate.scores import mean_over_problems, paired_change
from creditree.evaluate.statistics import Difference, Estimate, holm
from creditree.report.comparison import ComparedRun, Pair, compare_view, pair_json
from creditree.report.evaluation import MEASURED
from creditree.report.wording import percent_interval, terminal_table
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.runs.evaluation import EvaluationDirectory, is_evaluation

AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Asked:
    """One problem's result: the share of its completions that are correct, and what tells its question apart."""

    share: float
    digest: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """What is compared: results by decoding, task and problem id. `seed` drew its random numbers (None: not known).

    `run`: where it is a training run, what else is known of it.
    """

    name: str
    results: Mapping[str, Mapping[str, Mapping[str, Asked]]]
    seed: int | None = None
    run: ComparedRun | None = None

    @classmethod
    def of(cls, path: Path) -> "Measured":
        """Read a saved evaluation, or what a run measured after training. Raises RunError for what has not ended."""
        return _of_evaluation(path) if is_evaluation(path) else _of_run(path)

    def estimate(self, decoding: str, task: str) -> Estimate:
        """Return pass@1 on a task, with its interval over problems."""
        shares = [asked.share for asked in self.results[decoding][task].values()]
        return mean_over_problems(shares, _key(self.seed, task).at("interval"))


@dataclass(frozen=True, slots=True)
class TaskPair:
    """A pair on one task, or on the average of all tasks that both have."""

    task: str
    pair: Pair
    same_random_numbers: bool


def pair_measured(measured: Sequence[Measured], decoding: str) -> list[TaskPair]:
    """Return the paired differences of every two, second - first, on each task that both have, and on the average.

    One completion a problem: exact McNemar test; several: sign-flip permutation of the problems' shares. The p-values
    are adjusted by Holm, those of single tasks in one family and those of averages in another. Raises RunError where
    one id stands for different questions.
    """
    found: list[tuple[str, Measured, Measured, Difference]] = []
    for first, second in combinations(measured, 2):
        changes = {task: _changes(first, second, decoding, task) for task in _common(first, second, decoding)}
        differences = {
            task: paired_change(old, new, _key(first.seed, task)) for task, (old, new) in changes.items() if old
        }
        found += [(task, first, second, one) for task, one in differences.items()]
        if len(differences) > 1:
            moved = [[b - a for a, b in zip(*changes[task], strict=True)] for task in differences]
            key = _key(first.seed, AVERAGE)
            found.append((AVERAGE, first, second, average_difference(list(differences.values()), moved, key)))
    adjusted = _adjusted([(task == AVERAGE, one.p_value) for task, _, _, one in found])
    return [
        TaskPair(task, Pair(a.name, b.name, one, p), a.seed is not None and a.seed == b.seed)
        for (task, a, b, one), p in zip(found, adjusted, strict=True)
    ]


def compared_json(measured: Sequence[Measured], decoding: str) -> dict[str, Any]:
    """Return the comparison for programs: what each measured, and the pairs. A run has its summary's entries too."""
    return {
        "decoding": decoding,
        "runs": [
            {
                **({} if one.run is None else one.run.summary.to_json()),
                "name": one.name,
                "seed": one.seed,
                "tasks": {task: one.estimate(decoding, task).to_json() for task in one.results.get(decoding, {})},
            }
            for one in measured
        ],
        "pairs": [
            {"task": one.task, **pair_json(one.pair), "same_random_numbers": one.same_random_numbers}
            for one in pair_measured(measured, decoding)
        ],
    }


def compared_view(measured: Sequence[Measured], decoding: str) -> RenderableType:
    """Return the comparison for the terminal: of runs what they cost too, of anything else what was measured."""
    runs = [one.run for one in measured if one.run is not None]
    return compare_view(runs, decoding) if len(runs) == len(measured) else saved_view(measured, decoding)


def saved_view(measured: Sequence[Measured], decoding: str) -> RenderableType:
    """Return the comparison for the terminal."""
    tasks = list(dict.fromkeys(task for one in measured for task in one.results[decoding]))
    rows = [[one.name, *(_cell(one, decoding, task) for task in tasks)] for one in measured]
    if len(tasks) > 1:
        rows = [[*row, _average_cell(one, decoding, tasks)] for row, one in zip(rows, measured, strict=True)]
    header = ("evaluation", *tasks, *([AVERAGE] if len(tasks) > 1 else []))
    pairs = pair_measured(measured, decoding)
    lines = [f"{one.task}: {one.pair.conclusion()}" for one in pairs]
    return Group(
        terminal_table(f"pass@1 in % (95 % interval), {decoding}", header, rows),
        *(Text(line) for line in [_note(pairs), *lines]),
    )


def _note(pairs: Sequence[TaskPair]) -> str:
    if not pairs:
        return "No two of them have problems in common, so they cannot be compared in pairs."
    seeds = (
        "completions drawn with the same random numbers on both sides"
        if all(one.same_random_numbers for one in pairs)
        else "not all with the same seed, so random numbers differ between sides"
    )
    return (
        f"Pairs: the same problems on both sides, {seeds}; exact McNemar tests for one completion a problem, sign-flip "
        f"permutation tests for several; p by Holm. They speak of these models on these problems."
    )


def _cell(one: Measured, decoding: str, task: str) -> str:
    if task not in one.results[decoding]:
        return "-"
    found = one.estimate(decoding, task)
    return percent_interval(found.value, found.interval)


def _average_cell(one: Measured, decoding: str, tasks: Sequence[str]) -> str:
    if any(task not in one.results[decoding] for task in tasks):
        return "-"
    found = average([one.estimate(decoding, task) for task in tasks])
    return percent_interval(found.value, found.interval)


def _common(first: Measured, second: Measured, decoding: str) -> list[str]:
    other = second.results.get(decoding, {})
    return [task for task in first.results.get(decoding, {}) if task in other]


def _changes(first: Measured, second: Measured, decoding: str, task: str) -> tuple[list[float], list[float]]:
    """Return the shares of both on the problems that both have, in one order."""
    old, new = first.results[decoding][task], second.results[decoding][task]
    common = [name for name in old if name in new]
    for name in common:
        digests = {old[name].digest, new[name].digest} - {None}
        if len(digests) > 1:
            raise RunError(
                f"{first.name} and {second.name} have different questions under the id '{name}' of {task}: they were "
                "measured on different data; measure both on the same file."
            )
    return [old[name].share for name in common], [new[name].share for name in common]


def _adjusted(tests: Sequence[tuple[bool, float]]) -> list[float]:
    """Return Holm's p-values, for averages and single tasks apart, in the order given."""
    found = [0.0] * len(tests)
    for family in (False, True):
        places = [place for place, (is_average, _) in enumerate(tests) if is_average is family]
        for place, p in zip(places, holm([tests[place][1] for place in places]), strict=True):
            found[place] = p
    return found


def _of_evaluation(path: Path) -> Measured:
    directory = EvaluationDirectory.read(path)
    results: dict[str, dict[str, dict[str, Asked]]] = {}
    for row in directory.problems():
        if row.side == MEASURED and row.completions > row.unjudged:
            asked = Asked(row.correct / (row.completions - row.unjudged), row.digest)
            results.setdefault(row.decoding, {}).setdefault(row.task, {})[row.problem_id] = asked
    seed = directory.result().get("seed")
    return Measured(str(path), results, seed if isinstance(seed, int) else None)


def _of_run(path: Path) -> Measured:
    run = ComparedRun.of(RunDirectory.read(path))
    task = run.summary.task
    return Measured(
        str(path),
        {
            decoding: {task: {problem: Asked(float(value)) for problem, value in correct.items()}}
            for decoding, correct in run.correct.items()
        },
        run=run,
    )


def _key(seed: int | None, task: str) -> Key:
    return Key.of(seed or 0).at("compare", task)
