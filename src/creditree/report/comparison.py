"""Runs and saved evaluations side by side: what each reached and cost, and what may be concluded."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.evaluate.averages import average
from creditree.evaluate.compare import AVERAGE, Measured, Pair, TaskPair, pair_measured
from creditree.evaluate.seeds import mean_and_spread
from creditree.evaluate.summary import Summary
from creditree.report.rewards import NOTE as REWARD_NOTE
from creditree.report.wording import (
    count,
    percent,
    percent_interval,
    points,
    points_interval,
    terminal_table,
)


def compared_json(measured: Sequence[Measured], decoding: str) -> dict[str, Any]:
    """Return the comparison for programs: what each measured, and the pairs. A run has its summary's entries too."""
    return {
        "decoding": decoding,
        "runs": [
            {
                **({} if run.summary is None else run.summary.to_json()),
                "name": run.name,
                "seed": run.seed,
                "tasks": {task: run.estimate(decoding, task).to_json() for task in run.results.get(decoding, {})},
            }
            for run in measured
        ],
        "pairs": [
            {"task": tested.task, **pair_json(tested.pair), "same_random_numbers": tested.same_random_numbers}
            for tested in pair_measured(measured, decoding)
        ],
    }


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


def compared_view(measured: Sequence[Measured], decoding: str) -> RenderableType:
    """Return the comparison for the terminal: of runs what they cost too, of anything else what was measured."""
    if any(run.summary is None for run in measured):
        return _tasks_view(measured, decoding)
    parts: list[RenderableType] = [
        terminal_table(
            f"runs, {decoding}: accuracy in % (95 % interval)",
            RUN_HEADER,
            run_rows(measured, decoding, short=True),
            num_left=2,
        )
    ]
    groups = group_rows(measured, decoding)
    if groups:
        parts.append(terminal_table("mean ± standard deviation over seeds", GROUP_HEADER, groups))
    lines = [*repeated_seeds(measured), *_paired(measured, decoding), *_mean_rewards(measured, decoding)]
    return Group(*parts, *map(Text, lines))


RUN_HEADER = ("run", "method", "before", "after", "gain", "sampled", "in loss", "train")
GROUP_HEADER = ("runs", "seeds", "after", "gain", "sampled", "in loss", "train")


def run_rows(runs: Sequence[Measured], decoding: str, *, short: bool = False) -> list[tuple[str, ...]]:
    """Return the cells of `RUN_HEADER`, one row a training run; `short`: intervals only after training."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        if run.summary is None:
            continue
        figures, tokens = run.summary.decoding.get(decoding), run.summary.tokens
        measured = ("-", "-", "-")
        if figures is not None:
            d = figures.difference
            measured = (
                percent(figures.before.value)
                if short
                else percent_interval(figures.before.value, figures.before.interval),
                percent_interval(figures.after.value, figures.after.interval),
                points(d.value) if short else points_interval(d.value, d.interval),
            )
        cost = (
            count(tokens.get("sampled", 0)),
            count(tokens.get("in_loss", 0)),
            _whole_seconds(_train_seconds(run.summary)),
        )
        rows.append((run.name, run.summary.method, *measured, *cost))
    return rows


def group_rows(runs: Sequence[Measured], decoding: str) -> list[tuple[str, ...]]:
    """Return the cells of `GROUP_HEADER`, one row a group of runs: mean and standard deviation over distinct seeds."""
    groups: dict[str, list[Summary]] = {}
    repeats = _repeats(runs)
    for place, run in enumerate(runs):
        counts = bool(run.group) and place not in repeats
        if counts and run.summary is not None and decoding in run.summary.decoding:
            groups.setdefault(run.group, []).append(run.summary)
    rows: list[tuple[str, ...]] = []
    for name, members in groups.items():
        figures = [summary.decoding[decoding] for summary in members]
        rows.append(
            (
                name,
                str(len(members)),
                _spread([d.after.value for d in figures], percent),
                _spread([d.difference.value for d in figures], points, percent),
                _spread([summary.tokens.get("sampled", 0) for summary in members], count),
                _spread([summary.tokens.get("in_loss", 0) for summary in members], count),
                _spread([_train_seconds(summary) for summary in members], _whole_seconds),
            )
        )
    return rows


def repeated_seeds(runs: Sequence[Measured]) -> list[str]:
    """Return a sentence on each run of a group whose seed an earlier one has: the same run named twice, say."""
    return [
        f"{run.group}: seed {run.seed} is named more than once ({run.name}), and counts once in the mean."
        for run in (runs[place] for place in _repeats(runs))
    ]


def _repeats(runs: Sequence[Measured]) -> list[int]:
    """Return the places of runs whose seed an earlier one of their group has."""
    seeds = [(run.group, run.seed) if run.group and run.seed is not None else None for run in runs]
    return [place for place, seed in enumerate(seeds) if seed is not None and seed in seeds[:place]]


def _mean_rewards(runs: Sequence[Measured], decoding: str) -> list[str]:
    """Return the mean rewards of runs whose rewards are not all 0 or 1, where accuracy does not say it all."""
    summaries = [(run.name, run.summary) for run in runs if run.summary is not None]
    changes = [(name, summary.rewards[decoding]) for name, summary in summaries if decoding in summary.rewards]
    return [*(f"{name}: {change.sentence()}." for name, change in changes), *([REWARD_NOTE] if changes else [])]


def _paired(runs: Sequence[Measured], decoding: str) -> list[str]:
    pairs = pair_measured(runs, decoding)
    if not pairs:
        none = "No two runs kept results of common problems, so they cannot be compared in pairs."
        return [none] if len(runs) > 1 else []
    note = (
        f"Pairs ({decoding}): exact McNemar tests on the problems that both answered, p by Holm for {len(pairs)} of "
        "them. They speak of these adapters on these problems; only several seeds speak of a method."
    )
    return [note, *(pair.pair.conclusion() for pair in pairs)]


def _spread(
    values: Sequence[float], show: Callable[[float], str], show_sd: Callable[[float], str] | None = None
) -> str:
    spread = mean_and_spread(values)
    return show(spread.mean) if spread.sd is None else f"{show(spread.mean)} ± {(show_sd or show)(spread.sd)}"


def _whole_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s"


def _train_seconds(summary: Summary) -> float:
    return summary.seconds.get("train", summary.seconds.get("total", 0.0))


def _tasks_view(measured: Sequence[Measured], decoding: str) -> RenderableType:
    """Return the comparison of what was measured on each task."""
    tasks = list(dict.fromkeys(task for run in measured for task in run.results[decoding]))
    rows = [[run.name, *(_cell(run, decoding, task) for task in tasks)] for run in measured]
    if len(tasks) > 1:
        rows = [[*row, _average_cell(run, decoding, tasks)] for row, run in zip(rows, measured, strict=True)]
    header = ("evaluation", *tasks, *([AVERAGE] if len(tasks) > 1 else []))
    pairs = pair_measured(measured, decoding)
    lines = [f"{pair.task}: {pair.pair.conclusion()}" for pair in pairs]
    return Group(
        terminal_table(f"pass@1 in % (95 % interval), {decoding}", header, rows),
        *(Text(line) for line in [_note(pairs), *lines]),
    )


def _note(pairs: Sequence[TaskPair]) -> str:
    if not pairs:
        return "No two of them have problems in common, so they cannot be compared in pairs."
    seeds = (
        "completions drawn with the same random numbers on both sides"
        if all(pair.same_random_numbers for pair in pairs)
        else "not all with the same seed, so random numbers differ between sides"
    )
    return (
        f"Pairs: the same problems on both sides, {seeds}; exact McNemar tests for one completion a problem, sign-flip "
        f"permutation tests for several; p by Holm. They speak of these models on these problems."
    )


def _cell(measured: Measured, decoding: str, task: str) -> str:
    if task not in measured.results[decoding]:
        return "-"
    estimate = measured.estimate(decoding, task)
    return percent_interval(estimate.value, estimate.interval)


def _average_cell(measured: Measured, decoding: str, tasks: Sequence[str]) -> str:
    if any(task not in measured.results[decoding] for task in tasks):
        return "-"
    estimate = average([measured.estimate(decoding, task) for task in tasks])
    return percent_interval(estimate.value, estimate.interval)
