"""The summary of a run: before, after, the difference, what it cost, and what may be concluded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from creditree.errors import RunError
from creditree.evaluate.statistics import Difference, Estimate, paired_difference, wilson
from creditree.report.rewards import HEADER as REWARD_HEADER
from creditree.report.rewards import NOTE as REWARD_NOTE
from creditree.report.rewards import RewardChange, conclusions
from creditree.report.singles import HEADER as SINGLE_HEADER
from creditree.report.singles import TITLE as SINGLE_TITLE
from creditree.report.singles import Singles, single_rows, singles_from, singles_json
from creditree.report.wording import (
    count,
    duration,
    markdown_bullets,
    markdown_line,
    markdown_table,
    p_value,
    percent_interval,
    phases,
    points,
    points_interval,
    ratio,
    terminal_table,
)

LEVEL = 0.05
"""A difference is claimed where the 95 % interval excludes 0 and p is below this."""

TOKENS = {"sampled": "sampled", "decoded": "decoded", "forwarded": "forwarded", "in_loss": "in the loss"}
"""The token counts of a summary, and how they are called in tables."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Accuracy before and after on the same problems, under one way of decoding.

    `unjudged`: problems that are left out, because a completion got no reward on one side or both.
    """

    before: Estimate
    after: Estimate
    difference: Difference
    unjudged: int = 0

    @classmethod
    def of(cls, before: Mapping[str, int | None], after: Mapping[str, int | None]) -> "Decoding":
        """Compare 0/1 by problem id, in pairs; None: not judged.

        Raises ValueError where the problems are not the same, or none was judged on both sides.
        """
        if before.keys() != after.keys():
            raise ValueError("before and after were measured on different problems: they make no pairs")
        pairs = [(a, b) for a, b in ((before[one], after[one]) for one in before) if a is not None and b is not None]
        old, new = [a for a, _ in pairs], [b for _, b in pairs]
        n = len(pairs)
        return cls(wilson(sum(old), n), wilson(sum(new), n), paired_difference(old, new), len(before) - n)

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded."""
        d = self.difference
        interval = f"95 % interval {points(d.interval.low)} to {points(d.interval.high)}"
        evidence = f"{points(d.value)} points ({interval}), {p_value(d.p_value)}"
        left_out = f" {self.unjudged} more got no reward and are left out." if self.unjudged else ""
        if d.p_value < LEVEL and 0 not in d.interval:
            return f"after is {'better' if d.value > 0 else 'worse'}: {evidence}, n = {d.n}.{left_out}"
        return f"before and after are not distinguishable at n = {d.n}: {evidence}.{left_out}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What ``summary.json`` holds. `decoding` is by name (greedy, T=0.3, ...), the one that counts first.

    `seconds` has "total", "train" and phases, in wall seconds, and "train_cpu", the processor's; `tokens` has the
    counts of `TOKENS` over all training. `rewards`: mean rewards by decoding, where rewards are not all 0 or 1;
    `singles`: the rewards that they are sums of, where there are several. `extra` is written beside them.
    """

    method: str
    decoding: Mapping[str, Decoding]
    seconds: Mapping[str, float]
    tokens: Mapping[str, int]
    task: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)
    rewards: Mapping[str, RewardChange] = field(default_factory=dict)
    singles: Singles = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.decoding:
            raise ValueError("a summary needs at least one decoding")
        if not _KNOWN.isdisjoint(self.extra):
            raise ValueError(f"extra entries may not be called {sorted(_KNOWN & self.extra.keys())}")

    @property
    def main(self) -> Decoding:
        """The decoding that counts."""
        return next(iter(self.decoding.values()))

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded under the decoding that counts."""
        return self.main.conclusion()

    def to_json(self) -> dict[str, object]:
        """Return the content of ``summary.json``; its "before", "after", "difference" are of the first decoding."""
        return {
            "method": self.method,
            "task": self.task,
            **decoding_json(self.main),
            "decoding": {name: decoding_json(decoding) for name, decoding in self.decoding.items()},
            "seconds": dict(self.seconds),
            "tokens": dict(self.tokens),
            **({"rewards": {name: one.to_json() for name, one in self.rewards.items()}} if self.rewards else {}),
            **({"single_rewards": singles_json(self.singles)} if self.singles else {}),
            **self.extra,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object], source: str = "summary.json") -> "Summary":
        """Return the summary that `to_json` made. Raises RunError that names `source` where it is none."""
        try:
            return cls(
                method=str(data["method"]),
                decoding={str(name): _decoding(entry) for name, entry in _mapping(data["decoding"]).items()},
                seconds={str(name): _number(value) for name, value in _mapping(data["seconds"]).items()},
                tokens={str(name): int(_number(value)) for name, value in _mapping(data["tokens"]).items()},
                task=str(data.get("task", "")),
                extra={name: value for name, value in data.items() if name not in _KNOWN},
                rewards={
                    str(name): RewardChange.from_json(_mapping(entry))
                    for name, entry in _mapping(data.get("rewards", {})).items()
                },
                singles=singles_from(_mapping(data.get("single_rewards", {}))),
            )
        except KeyError as error:
            raise RunError(f"{source} has no entry {error}; make the run again, or leave it out.") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise RunError(f"{source} is not a summary ({error}); make the run again, or leave it out.") from error


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
        _NOTE,
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
    start, warm = summary.extra.get("start"), summary.extra.get("warm_start")
    before = [f"before: {start['before']}"] if isinstance(start, Mapping) and "before" in start else []
    return [*before, warm_words(warm)] if isinstance(warm, Mapping) else before


def warm_words(warm: Mapping[str, Any]) -> str:
    """Return what a warm start did."""
    return (
        f"warm start: {warm['steps']} supervised steps on the worked solutions of {warm['problems']} problems each, "
        f"-log p a token from {warm['loss_first']:.3g} to {warm['loss_last']:.3g}"
    )


def _last_words(summary: Summary) -> list[str]:
    """Return what was concluded of the guard set, why nothing was learned, and why it was slow, where that is so."""
    guard = summary.extra.get("guard")
    concluded = [str(guard["conclusion"])] if isinstance(guard, Mapping) and "conclusion" in guard else []
    told = (summary.extra.get(name) for name in ("nothing_learned", "eager"))
    return [*concluded, *(str(one) for one in told if one)]


_HEADER = ("decoding", "before", "after", "difference", "p")
_COST_HEADER = ("tokens", "count", "of sampled")
_NOTE = (
    "Accuracy in percent, with 95 % intervals: Wilson's for each, Newcombe's for the paired difference; p is the exact "
    "McNemar test's.\n"
)
_KNOWN = frozenset(
    {"method", "task", "before", "after", "difference", "decoding", "seconds", "tokens", "rewards", "single_rewards"}
)


def _title(summary: Summary) -> str:
    return f"{summary.method} on {summary.task}" if summary.task else summary.method


def _accuracy_rows(summary: Summary) -> list[tuple[str, ...]]:
    return [
        (
            f"{name}, {d.unjudged} unjudged" if d.unjudged else name,
            percent_interval(d.before.value, d.before.interval),
            percent_interval(d.after.value, d.after.interval),
            points_interval(d.difference.value, d.difference.interval),
            p_value(d.difference.p_value).removeprefix("p ").removeprefix("= "),
        )
        for name, d in summary.decoding.items()
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


def decoding_json(decoding: Decoding) -> dict[str, object]:
    """Return "before", "after" and "difference" as ``summary.json`` has them."""
    return {
        "before": decoding.before.to_json() | {"accuracy": decoding.before.value},
        "after": decoding.after.to_json() | {"accuracy": decoding.after.value},
        "difference": decoding.difference.to_json() | {"unjudged": decoding.unjudged},
    }


def _decoding(data: object) -> Decoding:
    entry = _mapping(data)
    before, after = (Estimate.from_json(_mapping(entry[name])) for name in ("before", "after"))
    change = _mapping(entry["difference"])
    return Decoding(before, after, Difference.from_json(change, before.n), int(_number(change.get("unjudged", 0))))


def _mapping(data: object) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise TypeError(f"{data!r} is not an object")
    return data


def _number(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise TypeError(f"{data!r} is not a number")
    return data
