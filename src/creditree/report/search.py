"""A search's results: what was tried at every rung, and how the best compares with the baseline on fresh seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.config.search import Search, Trial
from creditree.errors import RunError
from creditree.evaluate.seeds import seed_test
from creditree.evaluate.statistics import Estimate
from creditree.report.comparison import GROUP_HEADER, group_rows
from creditree.report.sweep import CasePair, SweptRun, pair_cases, sweep_json, unpaired_cases
from creditree.report.wording import (
    count,
    duration,
    markdown_bullets,
    markdown_table,
    p_value,
    percent_interval,
    points_interval,
    terminal_table,
)

RUNG_HEADER = ("trial", "setting", "validation", "reward", "sampled", "train", "goes on")
NOTE = (
    "p over problems: of the share of seeds with which each problem is solved, by flipping signs; it speaks of other "
    "problems. p over seeds: the paired t-test of the differences seed by seed, whose standard deviation counts as one "
    "problem at least; it speaks of other seeds."
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial had reached when it had sampled a rung's tokens; `reason`: why it failed, and reached nothing.

    `seconds`: wall seconds of all that was done in this rung;  `train_s`, `train_cpu_s`: of training so far.
    """

    trial: str
    tokens: int = 0
    steps: int = 0
    reward: float | None = None
    accuracy: float = 0.0
    low: float = 0.0
    high: float = 0.0
    problems: int = 0
    seconds: float = 0.0
    train_s: float = 0.0
    train_cpu_s: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Climbed:
    """A rung that all of its trials have reached: their results, and which of them go on, the best first.

    Behind the last rung those that go on are the best and the baseline's best.
    """

    tokens: int
    results: tuple[Result, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class BudgetMark:
    """The best and the baseline when they had spent the same: `what`, tokens or seconds."""

    what: str
    runs: tuple[SweptRun, ...]
    decoding: str

    @property
    def pair(self) -> CasePair:
        """The paired difference, best - baseline. Raises RunError where the two were not asked the same questions."""
        pairs = pair_cases(self.runs, self.decoding)
        if not pairs:
            raise RunError(" ".join(unpaired_cases(self.runs, self.decoding)) or "They have no problem in common.")
        return pairs[0]

    @property
    def p_seeds(self) -> float:
        """The p-value over seeds."""
        pair = self.pair
        return seed_test(list(pair.by_seed.values()), 1 / pair.pair.difference.n)

    def is_won(self, level: float) -> bool:
        """Whether the best is ahead in both tests."""
        change = self.pair.pair.difference
        return change.value > 0 and change.p_value < level and self.p_seeds < level

    def words(self) -> str:
        """Return the difference and its tests in words."""
        change, seeds = self.pair.pair.difference, len(self.pair.by_seed)
        return (
            f"{points_interval(change.value, change.interval)} points at equal {self.what} "
            f"({p_value(change.p_value)} over {change.n} problems, {p_value(self.p_seeds)} over {seeds} seeds)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for programs."""
        cases = sweep_json(self.runs, self.decoding)["cases"]
        runs = [_run_json(run, self.decoding) for run in self.runs]
        return {**self.pair.to_json(), "p_value_seeds": self.p_seeds, "cases": cases, "runs": runs}


def _run_json(run: SweptRun, decoding: str) -> dict[str, Any]:
    seconds = run.summary.seconds
    return {
        "case": run.case,
        "seed": run.seed,
        "after": run.summary.decoding[decoding].after.to_json(),
        "sampled": run.summary.tokens.get("sampled"),
        "train_s": seconds.get("train"),
        "train_cpu_s": seconds.get("train_cpu"),
    }


@dataclass(frozen=True, eq=False, slots=True)
class Confirmation:
    """The best trial against the baseline's, on fresh seeds and the test split; `reason`: why it could not be made."""

    best: Trial
    baseline: Trial
    marks: tuple[BudgetMark, ...] = ()
    reason: str | None = None

    def is_won(self, level: float) -> bool:
        """Whether the best is ahead of the baseline at equal tokens and at equal seconds."""
        return bool(self.marks) and all(mark.is_won(level) for mark in self.marks)


def conclusion(search: Search, climbed: Sequence[Climbed], confirmation: Confirmation | None) -> str:
    """Return one sentence: the winner, or that none was found, or what is the best without a baseline."""
    tried = len({search.trial(result.trial).composition for result in climbed[0].results} - {search.baseline})
    among = f"among {tried} composition{'' if tried == 1 else 's'} ({len(search.trials)} settings in all)"
    if confirmation is None:
        kept = [search.trial(name) for name in climbed[-1].kept]
        best = next((trial for trial in kept if trial.composition != search.baseline), kept[0])
        return f"The best {among} is {best.name} ({best.setting}); nothing was confirmed."
    best, baseline = confirmation.best, confirmation.baseline
    if confirmation.reason is not None:
        return f"None found {among}: the comparison of {best.name} with {baseline.name} failed: {confirmation.reason}"
    figures = "; ".join(mark.words() for mark in confirmation.marks)
    if confirmation.is_won(search.level):
        return f"{best.name} is better than the baseline {baseline.name}, found {among}: {figures}."
    return f"None found {among} at p < {search.level:g}: the best, {best.name}, against {baseline.name}: {figures}."


def trials_json(search: Search, out: Path | None) -> list[dict[str, Any]]:
    """Return the trials for programs, with their run directories."""
    return [
        {
            "name": trial.name,
            "composition": trial.composition,
            "keys": dict(trial.keys),
            "path": str(trial.folder if out is None else out / trial.folder),
        }
        for trial in search.trials
    ]


def search_json(
    search: Search, out: Path, climbed: Sequence[Climbed], confirmation: Confirmation | None
) -> dict[str, Any]:
    """Return what a search found, for programs."""
    record: dict[str, Any] = {
        "trials": trials_json(search, out),
        "compositions": search.compositions,
        "baseline": search.baseline,
        "rungs": [_rung_json(rung) for rung in climbed],
        "winner": None,
    }
    if confirmation is not None:
        won = confirmation.is_won(search.level)
        record["winner"] = confirmation.best.name if won else None
        record["confirmation"] = {
            "best": confirmation.best.name,
            "baseline": confirmation.baseline.name,
            "level": search.level,
            "seeds": list(search.seeds),
            **{f"equal_{mark.what}": mark.to_json() for mark in confirmation.marks},
            **({} if confirmation.reason is None else {"reason": confirmation.reason}),
        }
    return record | {"conclusion": conclusion(search, climbed, confirmation)}


def search_view(search: Search, climbed: Sequence[Climbed], confirmation: Confirmation | None) -> RenderableType:
    """Return what a search found, for the terminal."""
    tables = [
        terminal_table(_title(number, rung), RUNG_HEADER, _rows(search, rung), num_left=2)
        for number, rung in enumerate(climbed, 1)
    ]
    marks = () if confirmation is None else confirmation.marks
    confirmed = [terminal_table(_mark_title(mark), GROUP_HEADER, _groups(mark)) for mark in marks]
    lines = [NOTE] if marks else []
    return Group(*tables, *confirmed, *map(Text, [*lines, conclusion(search, climbed, confirmation)]))


def search_markdown(search: Search, climbed: Sequence[Climbed], confirmation: Confirmation | None) -> str:
    """Return what a search found, as Markdown."""
    parts = []
    for number, rung in enumerate(climbed, 1):
        parts += [f"{_title(number, rung)}:\n", markdown_table(RUNG_HEADER, _rows(search, rung))]
    marks = () if confirmation is None else confirmation.marks
    for mark in marks:
        parts += [f"{_mark_title(mark)}:\n", markdown_table(GROUP_HEADER, _groups(mark))]
    lines = [NOTE] if marks else []
    return "\n".join([*parts, markdown_bullets([*lines, conclusion(search, climbed, confirmation)])])


def _title(number: int, climbed: Climbed) -> str:
    return (
        f"rung {number}: {len(climbed.results)} trials at {count(climbed.tokens)} sampled tokens, accuracy in % (95 %)"
    )


def _mark_title(mark: BudgetMark) -> str:
    return f"fresh seeds, test split, equal {mark.what}, {mark.decoding}: mean ± standard deviation over seeds"


def _groups(mark: BudgetMark) -> list[tuple[str, ...]]:
    return group_rows([run.run for run in mark.runs], mark.decoding)


def _rows(search: Search, climbed: Climbed) -> list[tuple[str, ...]]:
    """Return the cells of `RUNG_HEADER`, the best first; what failed comes last, with the reason."""
    ordered = sorted(climbed.results, key=lambda result: float("inf") if result.reward is None else -result.reward)
    rows: list[tuple[str, ...]] = []
    for result in ordered:
        setting, on = search.trial(result.trial).setting, "yes" if result.trial in climbed.kept else ""
        if result.reward is None:
            rows.append((result.trial, setting, "failed", "-", "-", "-", str(result.reason)))
            continue
        accuracy = percent_interval(result.accuracy, _accuracy(result).interval)
        cost = count(result.tokens), duration(result.train_s)
        rows.append((result.trial, setting, accuracy, f"{result.reward:.3f}", *cost, on))
    return rows


def _accuracy(result: Result) -> Estimate:
    return Estimate.from_json({"value": result.accuracy, "interval": [result.low, result.high], "n": result.problems})


def _rung_json(climbed: Climbed) -> dict[str, Any]:
    return {
        "tokens": climbed.tokens,
        "trials": [_result_json(result) for result in climbed.results],
        "kept": list(climbed.kept),
    }


def _result_json(result: Result) -> Mapping[str, Any]:
    if result.reward is None:
        return {"trial": result.trial, "reason": result.reason}
    return {
        "trial": result.trial,
        "validation": _accuracy(result).to_json(),
        "reward": result.reward,
        "sampled": result.tokens,
        "steps": result.steps,
        "train_s": result.train_s,
        "train_cpu_s": result.train_cpu_s,
    }
