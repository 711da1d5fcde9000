"""The parts of a report: what was run, what came of it, how it went, what it cost, and examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from creditree.evaluate.changed import ChangedExample
from creditree.evaluate.power import LEVEL
from creditree.overview.health import Health, health_of
from creditree.overview.run import RunOverview
from creditree.report.document import (
    Block,
    Bullets,
    Callout,
    Code,
    Details,
    Drawings,
    Heading,
    KeyFigures,
    Paragraph,
    Rows,
)
from creditree.report.page.chart import Chart
from creditree.report.page.figures import cost_bars, curves, health_curves, result_bars, token_curves
from creditree.report.page.svg import chart_svg
from creditree.report.rewards import conclusions
from creditree.report.summary import ACCURACY_NOTE, accuracy_table
from creditree.report.wording import count, duration, p_value, percent, points
from creditree.text import one_line

MOST = 70


def drawings(charts: Sequence[Chart]) -> list[Block]:
    """Return charts beside one another, where there are any."""
    return [Drawings(tuple(chart_svg(chart) for chart in charts))] if charts else []


def verdict(run: RunOverview) -> Callout:
    """Return the sentence that counts."""
    if run.summary is None:
        step = run.metrics[-1]["step"] if run.metrics else 0
        wanted = run.config.get("train", {}).get("steps")
        return Callout(f"Not ended: step {step}{'' if wanted is None else f' of {wanted}'}. Nothing is concluded yet.")
    d = run.summary.main.difference
    mood = "neutral" if d.p_value >= LEVEL or 0 in d.interval else "good" if d.value > 0 else "bad"
    return Callout(f"{next(iter(run.summary.decoding))}: {run.summary.conclusion()}", mood)


def tiles(run: RunOverview) -> list[Block]:
    """Return the figures that one looks for first."""
    last: Mapping[str, Any] = run.metrics[-1] if run.metrics else {}
    items: list[tuple[str, str]] = []
    if run.summary is not None:
        d = run.summary.main
        items += [
            (f"{percent(d.before.value)} → {percent(d.after.value)} %", "correct, before → after"),
            (f"{points(d.difference.value)} points", p_value(d.difference.p_value)),
        ]
    named = [(name, last.get(name)) for name in ("step", "sampled", "in_loss")]
    words = {"step": "steps", "sampled": "tokens sampled", "in_loss": "tokens in the loss"}
    items += [(count(n), words[name]) for name, n in named if isinstance(n, int)]
    if isinstance(last.get("seconds"), int | float):
        items.append((duration(last["seconds"]), "of work"))
    return [KeyFigures(tuple(items))] if items else []


def what_was_run(run: RunOverview) -> list[Block]:
    """Return the setting: model, task, method, numbers, versions, hardware."""
    config, code = run.config, run.code
    method = config.get("method", {})
    pieces = [f"{axis}: {method[axis]}" for axis in ("explore", "credit", "select", "objective") if axis in method]
    task = {name: value for name, value in config.get("task", {}).items() if _is_said(value)}
    train, sampling = config.get("train", {}), config.get("sampling", {})
    rows = [
        ("model", " ".join(str(config.get("model", {}).get(name, "")) for name in ("name", "dtype", "device"))),
        ("task", _pairs(task)),
        ("method", f"{run.label} ({', '.join(pieces)})" if pieces else run.label),
        ("reward", str(config.get("reward", ""))),
        ("sampling", _pairs({k: v for k, v in sampling.items() if _is_said(v)})),
        ("training", _pairs({k: train.get(k) for k in ("steps", "problems_per_step", "learning_rate", "weights")})),
        ("seed", str(config.get("seed", ""))),
        ("code", _pairs({k: code[k] for k in ("creditree", "commit", "torch", "transformers") if k in code})),
        ("hardware", _pairs({k: code[k] for k in ("system", "cpu", "cores", "gpu") if code.get(k)})),
    ]
    data = None if run.summary is None else run.summary.details.data
    if data is not None:
        rows.append(("measured on", f"{data.n} problems of the {data.split} split, sha256 {data.sha256[:16]}"))
    shown = tuple((name, one_line(value, 400)) for name, value in rows if value.strip())
    return [Heading("What was run"), Rows(("", ""), shown), Details("All settings", (Code(_yaml(config)),))]


def _is_said(value: object) -> bool:
    return value is not None and not isinstance(value, Mapping | list)


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _yaml(config: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def result(run: RunOverview) -> list[Block]:
    """Return what came of it: accuracies with intervals, and sentences."""
    if run.summary is None:
        return []
    summary = run.summary
    said = [f"{name}: {decoding.conclusion()}" for name, decoding in summary.decoding.items()]
    details = summary.details
    more = [words for words in (details.unrewarded, details.nothing_learned, details.eager) if words]
    guard = [str(details.guard["conclusion"])] if details.guard and "conclusion" in details.guard else []
    header, rows = accuracy_table(summary)
    return [
        Heading("Result"),
        *drawings(result_bars(run)),
        Rows(header, tuple(rows)),
        Paragraph(ACCURACY_NOTE),
        Bullets(tuple([*said, *conclusions(summary.rewards), *guard, *more, *(details.notes or ())])),
    ]


def course(runs: Sequence[RunOverview]) -> list[Block]:
    """Return the learning curves."""
    drawn = drawings(curves(runs))
    if not drawn:
        return []
    spread = [Paragraph("Lines are means over seeds; bands reach from the lowest seed to the highest.")]
    return [Heading("Learning curves"), *drawn, *(spread if len(runs) > 1 else [])]


def cost(run: RunOverview) -> list[Block]:
    """Return where tokens, time and memory went."""
    charts = [*cost_bars(run), *token_curves([run])]
    if not charts:
        return []
    memory = health_of(run).memory
    peaks = ", ".join(f"{count(size)}B {_MEMORY.get(name, name)}" for name, size in memory.items())
    words = [Paragraph(f"Memory at its peak: {peaks}.")] if peaks else []
    return [Heading("What it cost"), *drawings(charts), *words, Paragraph(_TOKENS)]


_MEMORY = {"host": "of main memory", "gpu": "of the GPU's"}
_TOKENS = (
    "Sampled: drawn, every completion counted in full. Decoded: distributions computed to draw them, fewer where "
    "completions share prefixes. Forwarded: read by the learner. In the loss: what the update learns from."
)


def signal(runs: Sequence[RunOverview]) -> list[Block]:
    """Return how good the signal was."""
    header = ("", *(run.name.rpartition("/")[2] for run in runs)) if len(runs) > 1 else ("", "")
    columns = [_health_words(health_of(run)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = tuple((name, *(column.get(name, "-") for column in columns)) for name in names)
    if not rows:
        return []
    return [Heading("Signal health"), Rows(header, rows), *drawings(health_curves(runs))]


def _health_words(health: Health) -> dict[str, str]:
    words: dict[str, str] = {}
    if health.mixed is not None:
        words["groups with no signal (all rewards equal)"] = f"{percent(1 - health.mixed)} %"
    if health.without_signal is not None:
        words["steps without an update"] = f"{percent(health.without_signal)} %"
    if health.truncated is not None:
        words["completions cut off"] = f"{percent(health.truncated)} %"
    words |= {_STATUSES[name]: f"{percent(share)} %" for name, share in health.statuses.items()}
    if health.surprisal is not None:
        first, last = health.surprisal
        words["entropy of sampling, first → last tenth"] = f"{first:.3g} → {last:.3g} nats a token"
    if health.mismatch is not None:
        words["engine and learner apart, at most"] = f"{health.mismatch:.2g} nats (root mean square)"
    return words


_STATUSES = {
    "unparsable": "verdicts: no answer found",
    "timeouts": "verdicts: timeouts",
    "crashes": "verdicts: crashes",
    "failed_verdicts": "verdicts: no reward",
}


def changed(run: RunOverview) -> list[Block]:
    """Return problems whose outcome changed, with both texts."""
    kinds = (("better", "solved now"), ("worse", "not solved any more"))
    blocks = [_example(what, shown) for kind, what in kinds for shown in run.examples.get(kind, ())]
    return [Heading("Before and after"), *blocks] if blocks else []


def _example(what: str, shown: ChangedExample) -> Block:
    blocks = (
        Code(shown.question),
        Paragraph(f"Accepted: {' or '.join(shown.answers)}"),
        *(Paragraph("Before:"), Code(shown.before), Paragraph("After:"), Code(shown.after)),
    )
    return Details(f"{what}: {one_line(shown.question, MOST)}", blocks)
