"""What runs and saved evaluations measured: paired by problem, and by random numbers where seeds agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from creditree.errors import RunError
from creditree.evaluate.averages import average_difference
from creditree.evaluate.power import LEVEL
from creditree.evaluate.scores import mean_over_problems, paired_change
from creditree.evaluate.statistics import Difference, Estimate, holm
from creditree.evaluate.summary import Summary
from creditree.report.evaluation import MEASURED
from creditree.report.wording import p_value, points_interval
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.runs.evaluation import SETTINGS, EvaluationDirectory, is_evaluation
from creditree.runs.records import mapping_of, record_of, text_of
from creditree.runs.setting import RunSetting, inputs_of

AVERAGE = "average"
IN_PROCESS = "in_process"
"""The engine of a configuration that names none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One problem's result: the share of its completions that are correct, and what tells its question apart."""

    share: float
    digest: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """What is compared: results by decoding, task and problem id.

    `seed` and `engine` drew its random numbers (no seed: not known);  `sets`: by task, the sha256 of the problems that
    were asked;  `summary` and `setting`: of a training run, whose results are those after training. Runs of one `group`
    differ in their seed only, and are averaged; an empty group stands for the run alone.
    """

    name: str
    results: Mapping[str, Mapping[str, Mapping[str, Asked]]]
    seed: int | None = None
    summary: Summary | None = None
    group: str = ""
    engine: str = IN_PROCESS
    sets: Mapping[str, str] = field(default_factory=dict)
    setting: RunSetting | None = None

    @classmethod
    def of(cls, path: Path) -> "Measured":
        """Read a saved evaluation, or what a run measured after training. Raises RunError for what has not ended."""
        return _of_evaluation(path) if is_evaluation(path) else cls.of_run(RunDirectory.read(path))

    @classmethod
    def of_run(cls, run: RunDirectory, name: str = "", group: str = "") -> "Measured":
        """Read configuration, ``summary.json`` and, where kept, ``evaluation.json``.

        Raises RunError where they are unreadable.
        """
        if not run.has("summary.json"):
            raise RunError(f"Run {run.path} has no summary.json: it has not ended; continue it with `resume` first.")
        summary = Summary.from_json(run.read_json("summary.json"), str(run.path / "summary.json"))
        correct: Mapping[str, Mapping[str, int]] = {}
        digests: Mapping[str, str] = {}
        if run.has("evaluation.json"):
            kept, source = run.read_json("evaluation.json"), str(run.path / "evaluation.json")
            correct = _correct(kept.get("after"), source)
            digests = record_of(dict[str, str], kept.get("digests", {}), source, "make the run again, or leave it out")
        config = mapping_of(run.config_yaml, str(run.path / "config.yaml"), "put back what it was, or leave it out")
        measured = cls.of_summary(name or str(run.path), summary, correct, group, digests)
        setting = RunSetting.of(summary.method, summary.task, config, inputs_of(run))
        return replace(measured, seed=_seed(config), engine=_engine(config), setting=setting)

    @classmethod
    def of_summary(
        cls,
        name: str,
        summary: Summary,
        correct: Mapping[str, Mapping[str, int]],
        group: str = "",
        digests: Mapping[str, str] | None = None,
    ) -> "Measured":
        """Return what a run measured: its summary, and 0/1 of each judged problem after training, by decoding.

        `digests`: of each problem's question and answers; an older run kept none.
        """
        known = digests or {}
        results = {
            decoding: {
                summary.task: {problem: Asked(float(value), known.get(problem)) for problem, value in shares.items()}
            }
            for decoding, shares in correct.items()
        }
        data = summary.details.data
        return cls(name, results, None, summary, group, sets={} if data is None else {summary.task: data.sha256})

    @property
    def decodings(self) -> list[str]:
        """The ways of decoding under which it was measured."""
        return list(self.results if self.summary is None else self.summary.decoding)

    def drawn_as(self, other: "Measured") -> bool:
        """Return whether a completion of both had the same random numbers: each hangs on seed, problem id and place.

        A server makes other numbers of a seed than this process does.
        """
        return self.seed is not None and (self.seed, self.engine) == (other.seed, other.engine)

    def estimate(self, decoding: str, task: str) -> Estimate:
        """Return pass@1 on a task, with its interval over problems."""
        shares = [result.share for result in self.results[decoding][task].values()]
        return mean_over_problems(shares, _key(self.seed, task).at("interval"))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs on the problems that both answered: the difference second - first.

    `adjusted_p` is Holm's, for as many pairs as were compared together.
    """

    first: str
    second: str
    difference: Difference
    adjusted_p: float

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        d = self.difference
        evidence = f"{points_interval(d.value, d.interval)} points, {p_value(self.adjusted_p)}"
        if self.adjusted_p < LEVEL and 0 not in d.interval:
            return f"{self.second} is {'better' if d.value > 0 else 'worse'} than {self.first}: {evidence}, n = {d.n}."
        return f"{self.first} and {self.second} are not distinguishable at n = {d.n}: {evidence}."


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
    compared: list[tuple[str, Measured, Measured, Difference]] = []
    for first, second in combinations(measured, 2):
        changes = {task: _changes(first, second, decoding, task) for task in _common(first, second, decoding)}
        differences = {
            task: paired_change(old, new, _key(first.seed, task)) for task, (old, new) in changes.items() if old
        }
        compared += [(task, first, second, difference) for task, difference in differences.items()]
        if len(differences) > 1:
            moved = [[b - a for a, b in zip(*changes[task], strict=True)] for task in differences]
            key = _key(first.seed, AVERAGE)
            compared.append((AVERAGE, first, second, average_difference(list(differences.values()), moved, key)))
    adjusted = _adjusted([(task == AVERAGE, change.p_value) for task, _, _, change in compared])
    return [
        TaskPair(task, Pair(a.name, b.name, change, p), a.drawn_as(b))
        for (task, a, b, change), p in zip(compared, adjusted, strict=True)
    ]


def _common(first: Measured, second: Measured, decoding: str) -> list[str]:
    other = second.results.get(decoding, {})
    return [task for task in first.results.get(decoding, {}) if task in other]


def _changes(first: Measured, second: Measured, decoding: str, task: str) -> tuple[list[float], list[float]]:
    """Return the shares of both on the problems that both have, in one order."""
    old, new = first.results[decoding][task], second.results[decoding][task]
    common = shared_problems(first, second, decoding, task)
    return [old[name].share for name in common], [new[name].share for name in common]


def shared_problems(first: Measured, second: Measured, decoding: str, task: str) -> list[str]:
    """Return the ids of the problems of a task that both have, in the order of the first.

    Raises RunError where an id stands for different questions, or where it may: one side kept no digests of its
    questions, and all that is known is that their sets of problems are not the same.
    """
    old, new = (side.results.get(decoding, {}).get(task, {}) for side in (first, second))
    common = [name for name in old if name in new]
    different = next((name for name in common if len({old[name].digest, new[name].digest} - {None}) > 1), None)
    if different is not None:
        raise RunError(
            f"{first.name} and {second.name} have different questions under the id '{different}' of {task}: they were "
            "measured on different data; measure both on the same file."
        )
    untold = any(side[name].digest is None for name in common for side in (old, new))
    if untold and len({side.sets[task] for side in (first, second) if task in side.sets}) > 1:
        raise RunError(
            f"{first.name} and {second.name} were measured on different sets of problems of {task} (data.sha256), and "
            "one of them is too old to say which question an id stands for; measure both on the same file with `eval`, "
            "and compare those."
        )
    return common


def _adjusted(tests: Sequence[tuple[bool, float]]) -> list[float]:
    """Return Holm's p-values, for averages and single tasks apart, in the order given."""
    adjusted = [0.0] * len(tests)
    for family in (False, True):
        places = [place for place, (is_average, _) in enumerate(tests) if is_average is family]
        for place, p in zip(places, holm([tests[place][1] for place in places]), strict=True):
            adjusted[place] = p
    return adjusted


def _of_evaluation(path: Path) -> Measured:
    directory = EvaluationDirectory.read(path)
    results: dict[str, dict[str, dict[str, Asked]]] = {}
    for row in directory.problems():
        if row.side == MEASURED and row.completions > row.unjudged:
            result = Asked(row.correct / (row.completions - row.unjudged), row.digest)
            results.setdefault(row.decoding, {}).setdefault(row.task, {})[row.problem_id] = result
    text = text_of(directory.read_bytes(SETTINGS), path / SETTINGS, directory.CURE)
    settings = mapping_of(text, str(path / SETTINGS), directory.CURE)
    return Measured(
        str(path), results, _seed(directory.result()), engine=_engine(settings), sets=_sets(settings.get("tasks"))
    )


def _sets(tasks: object) -> dict[str, str]:
    """Return the sha256 of the problems of each task in the settings of an evaluation."""
    entries = tasks.items() if isinstance(tasks, Mapping) else ()
    known = {str(name): entry.get("sha256") for name, entry in entries if isinstance(entry, Mapping)}
    return {name: sha256 for name, sha256 in known.items() if isinstance(sha256, str)}


def _seed(record: Mapping[str, object]) -> int | None:
    seed = record.get("seed")
    return seed if isinstance(seed, int) else None


def _engine(settings: Mapping[str, object]) -> str:
    engine = settings.get("engine")
    named = engine.get("name") if isinstance(engine, Mapping) else engine
    return IN_PROCESS if named is None else str(named)


def _correct(data: object, source: str) -> dict[str, dict[str, int]]:
    try:
        if not isinstance(data, Mapping):
            raise TypeError("'after' is missing")
        judged = {d: {p: value for p, value in rows.items() if value is not None} for d, rows in data.items()}
        correct = {decoding: {str(p): int(value) for p, value in rows.items()} for decoding, rows in judged.items()}
        if any(value not in (0, 1) for rows in judged.values() for value in rows.values()):
            raise TypeError("it holds other numbers than 0 and 1")
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"{source} holds no results by problem ({error}); make the run again, or leave it out."
        ) from error
    return correct


def _key(seed: int | None, task: str) -> Key:
    return Key.of(seed or 0).at("compare", task)
