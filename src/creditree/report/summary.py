"""The summary of a run for readers: before, after, the difference, what it cost, and what may be concluded."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from creditree.evaluate.summary import TOKENS, Summary
from creditree.report.rewards import HEADER as REWARD_HEADER
from creditree.report.rewards import NOTE as REWARD_NOTE
from creditree.report.rewards import conclusions
from creditree.report.singles import HEADER as SINGLE_HEADER
from creditree.report.singles import TITLE as SINGLE_TITLE
from creditree.report.singles import single_rows
from creditree.report.wording import (
    count,
    duration,
    markdown_bullets,
    markdown_line,
    markdown_table,
    p_value,
    percent_interval,
    phases,
    points_interval,
    ratio,
    terminal_table,
)


def summary_view(summary: Summary) -> RenderableType:
    """Return all of a summary for the terminal: the two tables and the conclusions."""
    decided = [Text(f"{name}: {decoding.conclusion()}") for name, decoding in summary.decoding.items()]
    tables = summary_table(summary), *_reward_view(summary), cost_table(summary), Text(_seconds_line(summary)), Text()
    said = *map(Text, _started(summary)), *decided, *map(Text, conclusions(summary.rewards))
    return Group(*tables, *said, *map(Text, _last_words(summary)))


def summary_table(summary: Summary) -> Table:
    """Return the accuracies for the terminal, one decoding a row."""
    return terminal_table(f"{_title(summary)}: accuracy in % (95 % interval)", _HEADER, _accuracy_rows(summary))


def _reward_view(summary: Summary) -> list[RenderableType]:
    single = terminal_table(SINGLE_TITLE, SINGLE_HEADER, single_rows(summary.singles))
    singles = [single] if summary.singles else []
    if not summary.rewards:
        return [*singles]
    rows = [change.row(name) for name, change in summary.rewards.items()]
    return [terminal_table("mean reward (95 % interval)", REWARD_HEADER, rows), *singles, Text(REWARD_NOTE)]


def cost_table(summary: Summary) -> Table:
    """Return the tokens of training for the terminal, each beside the tokens sampled."""
    return terminal_table("tokens in training", _COST_HEADER, _token_rows(summary))


def summary_markdown(summary: Summary) -> str:
    """Return all of a summary as Markdown."""
    parts = [
        f"## {markdown_line(_title(summary))}\n",
        markdown_table(_HEADER, _accuracy_rows(summary)),
        f"{ACCURACY_NOTE}\n",
        *_reward_markdown(summary),
        markdown_table(_COST_HEADER, _token_rows(summary)),
        _seconds_line(summary) + "\n",
        markdown_bullets(_started(summary)),
        markdown_bullets([f"{name}: {decoding.conclusion()}" for name, decoding in summary.decoding.items()]),
        markdown_bullets([*conclusions(summary.rewards), *_last_words(summary)]),
    ]
    return "\n".join(parts)


def _reward_markdown(summary: Summary) -> list[str]:
    singles = [markdown_table(SINGLE_HEADER, single_rows(summary.singles))] if summary.singles else []
    if not summary.rewards:
        return singles
    rows = [change.row(name) for name, change in summary.rewards.items()]
    note = f"Mean reward, with 95 % bootstrap intervals over problems; p by flipping signs. {REWARD_NOTE}\n"
    return [markdown_table(REWARD_HEADER, rows), note, *singles]


def _started(summary: Summary) -> list[str]:
    """Return what "before" was, in words, where it was not the base model, and what came before the method."""
    start, warm = summary.details.start, summary.details.warm_start
    before = [] if start is None or "before" not in start else [f"before: {start['before']}"]
    return before if warm is None else [*before, warm.words()]


def _last_words(summary: Summary) -> list[str]:
    """Return what was concluded of the guard set, and what went wrong in training, where anything did."""
    guard, details = summary.details.guard or {}, summary.details
    said = guard.get("conclusion"), details.unrewarded, details.nothing_learned, details.eager
    return [str(words) for words in said if words]


_HEADER = ("decoding", "before", "after", "difference", "p")
_COST_HEADER = ("tokens", "count", "of sampled")
ACCURACY_NOTE = (
    "Accuracy in percent, with 95 % intervals: Wilson's for each, Newcombe's for the paired difference; p is the exact "
    "McNemar test's."
)


def _title(summary: Summary) -> str:
    return f"{summary.method} on {summary.task}" if summary.task else summary.method


def accuracy_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of the accuracies, which `ACCURACY_NOTE` explains."""
    return _HEADER, _accuracy_rows(summary)


def _accuracy_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Return the rows of every decoding, and after it those of the tasks of a mixture."""
    named = [
        (label, decoding)
        for name, whole in summary.decoding.items()
        for label, decoding in (
            (name, whole),
            *((f"{name}: {task}", figures[name]) for task, figures in summary.tasks.items() if name in figures),
        )
    ]
    return [
        (
            f"{name}, {d.unjudged} unjudged" if d.unjudged else name,
            percent_interval(d.before.value, d.before.interval),
            percent_interval(d.after.value, d.after.interval),
            points_interval(d.difference.value, d.difference.interval),
            p_value(d.difference.p_value).removeprefix("p ").removeprefix("= "),
        )
        for name, d in named
    ]


def _token_rows(summary: Summary) -> list[tuple[str, ...]]:
    sampled = summary.tokens.get("sampled", 0)
    named = [(label, summary.tokens[name]) for name, label in TOKENS.items() if name in summary.tokens]
    return [(label, count(number), "" if label == "sampled" else ratio(number, sampled)) for label, number in named]


def _seconds_line(summary: Summary) -> str:
    seconds = dict(summary.seconds)
    names = {"total": "in all", "train": "training", "train_cpu": "training's processor time"}
    named = [(label, seconds.pop(name, None)) for name, label in names.items()]
    parts = [f"{name} {duration(value)}" for name, value in named if value is not None]
    return "time: " + "; ".join([*parts, phases(seconds)] if seconds else parts)
