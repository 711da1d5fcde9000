"""Which charts a report has, and of what."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from creditree.evaluate.summary import TOKENS
from creditree.overview.curves import Metrics, Points, groups_of, recorded, series_of, share, smoothed, total
from creditree.overview.overview import Overview
from creditree.overview.run import RunOverview
from creditree.report.page.chart import Bar, BarChart, Chart, LineChart
from creditree.report.wording import count, duration, percent

Read = Callable[[Metrics], Points]
SHARE = (0.0, 1.0)
Line = tuple[str, str, str, Read, tuple[float, float] | None]
"""Name, title, what goes up, how it is read, and the range; None: that of the numbers."""
CURVES: tuple[Line, ...] = (
    ("reward", "Reward in training", "mean reward of the sampled groups, running mean",
     smoothed(recorded("reward_mean")), None),
    ("validation", "Accuracy on validation problems", "share that is correct", recorded("validation_accuracy"), None),
    ("loss", "Loss", "as the optimiser minimises it, running mean", smoothed(recorded("loss")), None),
    ("gradient", "Gradient norm", "before clipping, running mean", smoothed(recorded("grad_norm")), None),
)  # fmt: skip
HEALTH: tuple[Line, ...] = (
    ("mixed", "Groups with a signal", "share with different rewards, running mean",
     smoothed(recorded("mixed_share")), SHARE),
    ("truncated", "Cut off at the limit", "share of completions, running mean", smoothed(share("truncated")), SHARE),
    ("unparsable", "No answer found", "share of completions, running mean", smoothed(share("unparsable")), SHARE),
    ("surprisal", "Entropy of sampling", "mean -log p of a token in nats, running mean",
     smoothed(recorded("surprisal")), None),
    ("mismatch", "Engine and learner apart", "root mean square, nats, running mean",
     smoothed(recorded("sampler_mismatch_rms")), None),
    ("clipped", "Clipped", "share of the loss terms, running mean", smoothed(recorded("clip_fraction")), None),
)  # fmt: skip


def curves(runs: Sequence[RunOverview]) -> list[Chart]:
    """Return how reward, accuracy on validation problems, loss and gradient went."""
    return _lines(runs, CURVES)


def health_curves(runs: Sequence[RunOverview]) -> list[Chart]:
    """Return how the signal went; what never was above 0 is left out."""
    charts = _lines(runs, HEALTH)
    return [chart for chart in charts if not isinstance(chart, LineChart) or _is_news(chart)]


def _lines(runs: Sequence[RunOverview], wanted: Sequence[Line]) -> list[Chart]:
    groups = groups_of(runs)
    charts: list[Chart] = []
    for name, title, y_label, read, y_range in wanted:
        series = series_of(groups, read)
        if series:
            charts.append(LineChart(name, title, "training step", y_label, series, y_range))
    return charts


def _is_news(chart: LineChart) -> bool:
    return chart.name == "mixed" or any(np.any(np.asarray(y) > 0) for line in chart.series for _, y in line.points)


def token_curves(runs: Sequence[RunOverview]) -> list[Chart]:
    """Return how many tokens were sampled, decoded, forwarded and in the loss so far: of a run, or of several."""
    if len(runs) == 1:
        series = [line for name, label in TOKENS.items() for line in series_of({label: runs}, total(name))]
        return [LineChart("tokens", "Tokens so far", "training step", "tokens", series)] if series else []
    groups = groups_of(runs)
    drawn = [(name, label, series_of(groups, total(name))) for name, label in TOKENS.items()]
    return [
        LineChart(f"tokens-{name}", f"Tokens {label}", "training step", "tokens so far", series)
        for name, label, series in drawn
        if series
    ]


def cost_bars(run: RunOverview, prefix: str = "") -> list[Chart]:
    """Return where the tokens and the seconds of a run went."""
    last: Mapping[str, object] = run.metrics[-1] if run.metrics else {}
    tokens = [(label, last.get(name)) for name, label in TOKENS.items()]
    bars = [Bar(label, float(n), count(n), None, i) for i, (label, n) in enumerate(tokens) if isinstance(n, int)]
    charts: list[Chart] = [BarChart(f"{prefix}token-counts", "Tokens", "tokens in training", bars)] if bars else []
    phases = last.get("seconds_by_phase")
    if isinstance(phases, Mapping) and phases:
        ordered = sorted(phases.items(), key=lambda phase: -phase[1])
        seconds = [Bar(str(name), float(s), duration(s)) for name, s in ordered]
        charts.append(BarChart(f"{prefix}seconds", "Where the time went", "seconds", seconds))
    return charts


def result_bars(run: RunOverview, prefix: str = "") -> list[Chart]:
    """Return the accuracies before and after training, with their intervals."""
    if run.summary is None:
        return []
    bars: list[Bar] = []
    for name, decoding in run.summary.decoding.items():
        for side, estimate, colour in (("before", decoding.before, 6), ("after", decoding.after, 0)):
            interval = 100 * estimate.interval.low, 100 * estimate.interval.high
            value = 100 * estimate.value
            bars.append(Bar(f"{name}, {side}", value, percent(estimate.value), interval, colour))
    return [BarChart(f"{prefix}result", "Accuracy before and after", "% correct, with 95 % intervals", bars)]


def compared_bars(overview: Overview) -> list[Chart]:
    """Return the accuracies after training of several runs, with their intervals."""
    bars = []
    methods = list(dict.fromkeys(run.group or run.name for run in overview.measured))
    for run in overview.measured:
        figures = None if run.summary is None else run.summary.decoding.get(overview.decoding)
        if figures is not None:
            interval = 100 * figures.after.interval.low, 100 * figures.after.interval.high
            value = figures.after.value
            colour = methods.index(run.group or run.name)
            bars.append(Bar(run.name.rpartition("/")[2], 100 * value, percent(value), interval, colour))
    title = f"Accuracy after training, {overview.decoding}"
    return [BarChart("compared", title, "% correct, with 95 % intervals", bars)] if bars else []


def all_charts(overview: Overview) -> list[Chart]:
    """Return every chart of a report, each with a name of its own."""
    runs = overview.runs
    charts = [*compared_bars(overview), *curves(runs), *health_curves(runs), *token_curves(runs)]
    for number, run in enumerate(runs, start=1):
        prefix = f"run-{number}-" if len(runs) > 1 else ""
        charts += [*result_bars(run, prefix), *cost_bars(run, prefix)]
    return charts
