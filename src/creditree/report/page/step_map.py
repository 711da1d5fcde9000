"""How the steps of a completion attend to one another, as a picture of its own; on the page the script draws it."""

from io import BytesIO
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from creditree.overview.trees import ShownTree
from creditree.step_attention import StepAttention
from creditree.text import shortened

Kind = Literal["svg", "png"]
COLOURS = ("#f4f6f8", "#0072b2")
NEAR = "#e3e7ea"


def step_map(title: str, shown: ShownTree, kind: Kind) -> bytes | None:
    """Return the map of a tree's first completion, the steps framed that others branch at; None without one."""
    attention = shown.tree.branches[0].attention
    if attention is None:
        return None
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10, "svg.hashsalt": "creditree"}):
        figure = _figure(title, attention, branched(shown))
        buffer = BytesIO()
        if kind == "png":
            FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
        else:
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def branched(shown: ShownTree) -> list[int]:
    """Return the steps of the first completion at whose start others branch."""
    attention = shown.tree.branches[0].attention
    if attention is None:
        return []
    starts = [0, *attention.ends.tolist()]
    return sorted(1 + starts.index(fork.at) for fork in shown.forks if fork.parent == 0 and fork.at in starts[:-1])


def _figure(title: str, attention: StepAttention, framed: list[int]) -> Figure:
    steps = len(attention.weights)
    weights = np.ma.masked_where(~attention.counts, attention.weights)
    figure = Figure(figsize=(6.4, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("white")
    for k in range(steps):
        near = min(attention.delta, steps - k)
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, near, facecolor=NEAR, edgecolor="none"))
    colours = mpl.colors.LinearSegmentedColormap.from_list("attention", COLOURS)
    of_completion = attention.weights[:, 1:]
    most = float(of_completion.max(initial=0)) or float(attention.weights.max()) or 1.0
    edges = np.arange(steps + 1) - 0.5
    mesh = axes.pcolormesh(edges, edges, weights, cmap=colours, vmin=0, vmax=most)
    figure.colorbar(mesh, ax=axes, label="mean attention weight of pairs of tokens", extend="max", shrink=0.8)
    for k in framed:
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, steps - k, fill=False, edgecolor="#d55e00", linewidth=1.3))
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(steps - 0.5, -0.5)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    where = "; framed: completions branch at its start" if framed else ""
    axes.set_xlabel(f"step that is attended to (0: the prompt){where}")
    axes.set_ylabel("step that attends")
    axes.set_title(shortened(title, 60), loc="left", fontsize=11, fontweight="bold")
    return figure
