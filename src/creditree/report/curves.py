"""Learning curves as PNG: the mean over seeds with a band, one line a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import ArrayLike, NDArray

from creditree.runs.atomic import RUN_CURE, write_bytes
from creditree.text import shortened

FloatArray = NDArray[np.float64]
Band = Literal["range", "sd"]

# Okabe and Ito 2008: eight colours that people with any common colour blindness tell apart; yellow, too light for a
# line, is left out. Dashes and markers differ as well, for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_NUM_MARKERS = 8


@dataclass(frozen=True, eq=False, slots=True)
class Series:
    """One line of a plot: for each seed numbers x and y of equal length. Points that are not finite are left out."""

    label: str
    points: Sequence[tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Mean and band over seeds at the x where every seed has been measured."""

    x: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def average(series: Series, band: Band = "range") -> Curve:
    """Return mean and band over seeds: minimum to maximum, or one sample standard deviation to each side.

    Seeds are read at the same x, between their points by straight lines, and only where all of them have points:
    beyond that, the mean would be of other seeds. Of several points of a seed at one x the last counts. Raises
    ValueError where a seed has no points, or the seeds have no x in common.
    """
    seeds = [_cleaned(series.label, x, y) for x, y in series.points]
    if not seeds:
        raise ValueError(f"series '{series.label}' has no runs")
    begin, end = max(float(x[0]) for x, _ in seeds), min(float(x[-1]) for x, _ in seeds)
    if begin > end:
        raise ValueError(f"the runs of series '{series.label}' have no stretch in common")
    grid = np.unique(np.concatenate([x for x, _ in seeds]))
    grid = grid[(grid >= begin) & (grid <= end)]
    values = np.stack([np.interp(grid, x, y) for x, y in seeds])
    mean = values.mean(axis=0)
    if band == "range":
        return Curve(grid, mean, values.min(axis=0), values.max(axis=0))
    sd = values.std(axis=0, ddof=1) if len(seeds) > 1 else np.zeros(len(grid))
    return Curve(grid, mean, mean - sd, mean + sd)


def plot_curves(
    series: Sequence[Series],
    path: Path,
    x_label: str,
    y_label: str,
    title: str,
    *,
    band: Band = "range",
    y_range: tuple[float, float] | None = None,
    cure: str = RUN_CURE,
) -> None:
    """Write a PNG with one line a series; equal series give equal bytes under one version of matplotlib.

    Raises ValueError for no series or one that `average` refuses, RunError, which ends with the cure, where
    the file cannot be written.
    """
    if not series:
        raise ValueError("there is nothing to plot: no series")
    curves = [(line.label, average(line, band), len(line.points)) for line in series]
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for number, (label, curve, num_seeds) in enumerate(curves):
            name = f"{label} ({num_seeds} seeds)" if num_seeds > 1 else label
            _draw(axes, number, fill(shortened(name, 120), 30), curve)
        _dress(axes, x_label, y_label, title, y_range)
        _explain(axes, band, averaged=any(num_seeds > 1 for _, _, num_seeds in curves))
        buffer = BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
    write_bytes(path, buffer.getvalue(), cure)


def _draw(axes: Axes, number: int, label: str, curve: Curve) -> None:
    colour = COLOURS[number % len(COLOURS)]
    if bool(np.any(curve.high > curve.low)):
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(
        curve.x,
        curve.mean,
        color=colour,
        linestyle=_DASHES[number % len(_DASHES)],
        linewidth=1.8,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=4.5,
        markevery=max(1, len(curve.x) // _NUM_MARKERS),
        label=label,
    )


def _dress(axes: Axes, x_label: str, y_label: str, title: str, y_range: tuple[float, float] | None) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(fill(shortened(title, 200), 76), loc="left", fontsize=11, fontweight="bold")
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    if y_range is not None:
        axes.set_ylim(*y_range)


def _explain(axes: Axes, band: Band, *, averaged: bool) -> None:
    extent = {"range": "lowest to highest", "sd": "± 1 standard deviation"}[band]
    meaning = f"mean over seeds;\nband: {extent}" if averaged else None
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), title=meaning, alignment="left")


def _cleaned(label: str, x_values: ArrayLike, y_values: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(x_values, dtype=np.float64), np.asarray(y_values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"series '{label}' has x of shape {x.shape} and y of shape {y.shape}")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) == 0:
        raise ValueError(f"series '{label}' has a run without points")
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    last = np.append(x[1:] != x[:-1], True)
    return x[last], y[last]
