"""Several runs side by side: what each reached and cost, and which of them can be told apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.errors import RunError
from creditree.evaluate.statistics import Difference, holm, mean_and_spread, paired_difference
from creditree.report.rewards import NOTE as REWARD_NOTE
from creditree.report.summary import LEVEL, Summary
from creditree.report.wording import (
    count,
    markdown_bullets,
    markdown_table,
    p_value,
    percent,
    percent_interval,
    points,
    points_interval,
    terminal_table,
)
from creditree.runs.directory import RunDirectory


@dataclass(frozen=True, eq=False, slots=True)
class ComparedRun:
    """A run with its summary, and where it kept them the 0/1 of each judged problem after training, by decoding.

    Runs of one `group` differ in their seed only, and are averaged; an empty group stands for the run alone.
    """

    name: str
    summary: Summary
    correct: Mapping[str, Mapping[str, int]]
    group: str = ""

    @classmethod
    def of(cls, run: RunDirectory, name: str = "", group: str = "") -> "ComparedRun":
        """Read ``summary.json`` and, where kept, ``evaluation.json``. Raises RunError where they are unreadable."""
        if not run.has("summary.json"):
            raise RunError(f"Run {run.path} has no summary.json: it has not ended; continue it with `resume` first.")
        summary = Summary.from_json(run.read_json("summary.json"), str(run.path / "summary.json"))
        correct: Mapping[str, Mapping[str, int]] = {}
        if run.has("evaluation.json"):
            correct = _correct(run.read_json("evaluation.json").get("after"), str(run.path / "evaluation.json"))
        return cls(name or str(run.path), summary, correct, group)


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


def pair_runs(runs: Sequence[ComparedRun], decoding: str = "greedy") -> list[Pair]:
    """Return every two runs of one task that answered common problems under `decoding`, by exact McNemar tests."""
    found: list[tuple[str, str, Difference]] = []
    for first, second in combinations(runs, 2):
        old, new = first.correct.get(decoding, {}), second.correct.get(decoding, {})
        common = [problem for problem in old if problem in new]
        if common and first.summary.task == second.summary.task:
            difference = paired_difference([old[problem] for problem in common], [new[problem] for problem in common])
            found.append((first.name, second.name, difference))
    adjusted = holm([difference.p_value for _, _, difference in found])
    return [Pair(*names, p) for names, p in zip(found, adjusted, strict=True)]


def compare_view(runs: Sequence[ComparedRun], decoding: str = "greedy") -> RenderableType:
    """Return the comparison for the terminal."""
    parts: list[RenderableType] = [
        terminal_table(
            f"runs, {decoding}: accuracy in % (95 % interval)",
            RUN_HEADER,
            run_rows(runs, decoding, short=True),
            num_left=2,
        )
    ]
    groups = group_rows(runs, decoding)
    if groups:
        parts.append(terminal_table("mean ± standard deviation over seeds", GROUP_HEADER, groups))
    return Group(*parts, *(Text(line) for line in _conclusions(runs, decoding)))


def compare_markdown(runs: Sequence[ComparedRun], decoding: str = "greedy") -> str:
    """Return the comparison as Markdown."""
    parts = [markdown_table(RUN_HEADER, run_rows(runs, decoding))]
    groups = group_rows(runs, decoding)
    if groups:
        parts += ["Mean ± standard deviation over seeds:\n", markdown_table(GROUP_HEADER, groups)]
    return "\n".join([*parts, markdown_bullets(_conclusions(runs, decoding))])


def pair_json(pair: Pair) -> dict[str, object]:
    """Return a pair for programs."""
    return {
        "first": pair.first,
        "second": pair.second,
        "n": pair.difference.n,
        "value": pair.difference.value,
        "interval": pair.difference.interval.to_json(),
        "p_value": pair.difference.p_value,
        "adjusted_p_value": pair.adjusted_p,
        "conclusion": pair.conclusion(),
    }


RUN_HEADER = ("run", "method", "before", "after", "gain", "sampled", "in loss", "train")
GROUP_HEADER = ("runs", "seeds", "after", "gain", "sampled", "in loss", "train")


def run_rows(runs: Sequence[ComparedRun], decoding: str, *, short: bool = False) -> list[tuple[str, ...]]:
    """Return the cells of `RUN_HEADER`, one row a run; `short`: intervals only after training."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        found, tokens = run.summary.decoding.get(decoding), run.summary.tokens
        measured = ("-", "-", "-")
        if found is not None:
            d = found.difference
            measured = (
                percent(found.before.value) if short else percent_interval(found.before.value, found.before.interval),
                percent_interval(found.after.value, found.after.interval),
                points(d.value) if short else points_interval(d.value, d.interval),
            )
        cost = (count(tokens.get("sampled", 0)), count(tokens.get("in_loss", 0)), _whole_seconds(_train_seconds(run)))
        rows.append((run.name, run.summary.method, *measured, *cost))
    return rows


def group_rows(runs: Sequence[ComparedRun], decoding: str) -> list[tuple[str, ...]]:
    """Return the cells of `GROUP_HEADER`, one row a group of runs: mean and standard deviation over seeds."""
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        if run.group and decoding in run.summary.decoding:
            groups.setdefault(run.group, []).append(run)
    rows: list[tuple[str, ...]] = []
    for name, members in groups.items():
        found = [run.summary.decoding[decoding] for run in members]
        rows.append(
            (
                name,
                str(len(members)),
                _spread([d.after.value for d in found], percent),
                _spread([d.difference.value for d in found], points, percent),
                _spread([run.summary.tokens.get("sampled", 0) for run in members], count),
                _spread([run.summary.tokens.get("in_loss", 0) for run in members], count),
                _spread([_train_seconds(run) for run in members], _whole_seconds),
            )
        )
    return rows


def _conclusions(runs: Sequence[ComparedRun], decoding: str) -> list[str]:
    return [*_paired(runs, decoding), *_mean_rewards(runs, decoding)]


def _mean_rewards(runs: Sequence[ComparedRun], decoding: str) -> list[str]:
    """Return the mean rewards of runs whose rewards are not all 0 or 1, where accuracy does not say it all."""
    found = [(run.name, run.summary.rewards[decoding]) for run in runs if decoding in run.summary.rewards]
    return [*(f"{name}: {change.sentence()}." for name, change in found), *([REWARD_NOTE] if found else [])]


def _paired(runs: Sequence[ComparedRun], decoding: str) -> list[str]:
    pairs = pair_runs(runs, decoding)
    if not pairs:
        return (
            ["No two runs kept results of common problems, so they cannot be compared in pairs."]
            if len(runs) > 1
            else []
        )
    note = (
        f"Pairs ({decoding}): exact McNemar tests on the problems that both answered, p by Holm for {len(pairs)} of "
        "them. They speak of these adapters on these problems; only several seeds speak of a method."
    )
    return [note, *(pair.conclusion() for pair in pairs)]


def _spread(
    values: Sequence[float], show: Callable[[float], str], show_sd: Callable[[float], str] | None = None
) -> str:
    found = mean_and_spread(values)
    return show(found.mean) if found.sd is None else f"{show(found.mean)} ± {(show_sd or show)(found.sd)}"


def _whole_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s"


def _train_seconds(run: ComparedRun) -> float:
    return run.summary.seconds.get("train", run.summary.seconds.get("total", 0.0))


def _correct(data: object, source: str) -> dict[str, dict[str, int]]:
    try:
        if not isinstance(data, Mapping):
            raise TypeError("'after' is missing")
        judged = {d: {p: value for p, value in rows.items() if value is not None} for d, rows in data.items()}
        found = {decoding: {str(p): int(value) for p, value in rows.items()} for decoding, rows in judged.items()}
        if any(value not in (0, 1) for rows in judged.values() for value in rows.values()):
            raise TypeError("it holds other numbers than 0 and 1")
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"{source} holds no results by problem ({error}); make the run again, or leave it out."
        ) from error
    return found
