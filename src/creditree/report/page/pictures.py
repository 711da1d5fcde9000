"""Every chart of a report as a picture of its own: SVG as the page has it, PNG by matplotlib."""

from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from creditree.overview.overview import Overview
from creditree.overview.trees import ShownForest, ShownTree
from creditree.report.curves import COLOURS, plot_curves
from creditree.report.document import asset
from creditree.report.page.chart import BarChart, Chart, LineChart
from creditree.report.page.figures import all_charts
from creditree.report.page.step_map import Kind, step_map
from creditree.report.page.svg import chart_svg
from creditree.report.page.tree_svg import tree_svg
from creditree.runs.atomic import text_bytes, write_bytes, writing
from creditree.text import one_line, shortened

MOST_TREES = 12
NOBODY = "#c9ced3"
CURE = "free it, or choose another directory with `figures`"


def write_pictures(overview: Overview, folder: Path) -> tuple[Path, ...]:
    """Write all charts and the first trees into a folder; return the files. Raises RunError where that fails."""
    with writing(folder, CURE):
        folder.mkdir(parents=True, exist_ok=True)
    style = asset("style.css").partition("/*page*/")[0]
    written: list[Path] = []
    for chart in all_charts(overview):
        written += [folder / f"{chart.name}.svg", folder / f"{chart.name}.png"]
        write_bytes(written[-2], text_bytes(chart_svg(chart, style)), CURE)
        _png(chart, written[-1])
    trees = [tree for run in overview.runs for forest in run.forests for tree in _numbered(forest)]
    for number, (title, shown) in enumerate(trees[:MOST_TREES], start=1):
        written += [folder / f"tree-{number}.svg", folder / f"tree-{number}.png"]
        write_bytes(written[-2], text_bytes(tree_svg(shown, style)), CURE)
        _tree_png(title, shown, written[-1])
        written += _map(title, shown, folder / f"attention-{number}")
    return tuple(written)


def _map(title: str, shown: ShownTree, path: Path) -> list[Path]:
    """Write how steps attend to one another, where a tree knows it."""
    written = []
    kinds: tuple[Kind, ...] = ("svg", "png")
    for kind in kinds:
        picture = step_map(title, shown, kind)
        if picture is not None:
            written.append(path.with_suffix(f".{kind}"))
            write_bytes(written[-1], picture, CURE)
    return written


def _numbered(forest: ShownForest) -> list[tuple[str, ShownTree]]:
    return [(f"step {forest.step}, problem {one_line(forest.problem_id, 40)}", shown) for shown in forest.trees]


def _png(chart: Chart, path: Path) -> None:
    if isinstance(chart, LineChart):
        plot_curves(chart.series, path, chart.x_label, chart.y_label, chart.title, y_range=chart.y_range, cure=CURE)
    else:
        _bar_png(chart, path)


def _bar_png(chart: BarChart, path: Path) -> None:
    with _drawing():
        figure = Figure(figsize=(7.2, 1.3 + 0.36 * len(chart.bars)), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        for place, bar in enumerate(chart.bars):
            colour, y = COLOURS[bar.colour % len(COLOURS)], -place
            if bar.interval is None:
                axes.barh(y, bar.value, color=colour, height=0.62)
            else:
                axes.plot(bar.interval, (y, y), color=colour, linewidth=2, marker="|")
                axes.plot(bar.value, y, color=colour, marker="o")
            axes.annotate(bar.text, (bar.interval[1] if bar.interval else bar.value, y), (6, 0),
                          textcoords="offset points", va="center")  # fmt: skip
        axes.set_yticks([-place for place in range(len(chart.bars))], [shortened(bar.label, 40) for bar in chart.bars])
        axes.set_xlabel(chart.x_label)
        axes.set_xlim(left=min(0, *axes.get_xlim()))
        axes.margins(x=0.12)
        axes.set_title(chart.title, loc="left", fontsize=11, fontweight="bold")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        _save(figure, path)


def _tree_png(title: str, shown: ShownTree, path: Path) -> None:
    rewards = [branch.reward for branch in shown.tree.branches if branch.reward is not None]
    low, high = min([0.0, *rewards]), max([1.0, *rewards])
    colours = mpl.colors.LinearSegmentedColormap.from_list("value", ["#d55e00", "#dfe3e6", "#0072b2"])
    with _drawing():
        figure = Figure(figsize=(9, 1.4 + min(4.5, 0.2 * len(shown.rows))), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        for segment in shown.segments:
            colour = NOBODY if segment.value is None else colours((segment.value - low) / (high - low))
            corner, size = (segment.start, segment.row + 0.08), (segment.stop - segment.start, segment.rows - 0.16)
            axes.add_patch(Rectangle(corner, *size, facecolor=colour, edgecolor="white", linewidth=0.6))
        for fork in shown.forks:
            lines = [shown.rows[leaf] + 0.5 for leaf in (fork.parent, *fork.children)]
            axes.plot((fork.at, fork.at), (min(lines), max(lines)), color="black", linewidth=0.9)
            axes.plot(fork.at, lines[0], color="black", marker="o", markersize=3.5, markerfacecolor="white")
        axes.set_xlim(0, max(segment.stop for segment in shown.segments))
        axes.set_ylim(len(shown.rows), 0)
        axes.set_yticks([])
        axes.set_xlabel("tokens from the root; colour: mean reward below, from orange (worst) to blue (best)")
        axes.set_title(shortened(title, 76), loc="left", fontsize=11, fontweight="bold")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        _save(figure, path)


def _drawing() -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10})
    return context


def _save(figure: Figure, path: Path) -> None:
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    write_bytes(path, buffer.getvalue(), CURE)
