"""Charts as SVG: small, coloured by classes, so that a page in the dark changes them without drawing them anew."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap

from creditree.report.curves import Curve, average
from creditree.report.page.chart import Bar, BarChart, Chart, LineChart, tick_text, ticks
from creditree.text import printable

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 46, 38
LEGEND_LINE, LEGEND_WIDTH = 17, 52
BAR, BAR_LEFT, BAR_RIGHT, BAR_TOP = 26, 132, 92, 30
COLOURS = 7


def chart_svg(chart: Chart, style: str = "") -> str:
    """Return a chart; `style`: rules that a file of its own needs. Raises ValueError for a chart without anything."""
    return _lines(chart, style) if isinstance(chart, LineChart) else _bars(chart, style)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return a text of one line."""
    name = f' class="{kind}"' if kind else ""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{name}{side}>{escape(printable(words))}</text>'


def svg(title: str, width: float, height: float, parts: Sequence[str], style: str = "", kind: str = "chart") -> str:
    """Return a picture of its parts, with its name for whoever cannot see it."""
    rules = f"<style>{style}</style>" if style else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(printable(title))}">{rules}{"".join(parts)}</svg>'
    )


class _Scale:
    """From numbers to places."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        self.low, self.high = low, high if high > low else low + 1.0
        self._start, self._size = start, stop - start

    def __call__(self, value: float) -> float:
        return self._start + (value - self.low) / (self.high - self.low) * self._size


def _lines(chart: LineChart, style: str) -> str:
    curves = [(line.label, len(line.points), average(line)) for line in chart.series]
    if not curves:
        raise ValueError(f"chart '{chart.name}' has no line")
    legend = _legend(chart, curves)
    top = TOP + LEGEND_LINE * (len(legend) // 3 if legend else 0)
    height = HEIGHT + top - TOP
    x_axis = _Scale(
        min(float(c.x[0]) for _, _, c in curves), max(float(c.x[-1]) for _, _, c in curves), LEFT, WIDTH - RIGHT
    )
    low, high = chart.y_range or _range(curves)
    y_axis = _Scale(low, high, height - BOTTOM, top)
    titles = [text(10, 17, chart.title, "title"), text(10, 33, chart.y_label, "label")]
    parts = [*titles, *legend, *_grid(chart, x_axis, y_axis, height)]
    for number, (_, _, curve) in enumerate(curves):
        parts += _curve(curve, number, x_axis, y_axis)
    return svg(f"{chart.title}: {chart.y_label} by {chart.x_label}", WIDTH, height, parts, style)


def _legend(chart: LineChart, curves: Sequence[tuple[str, int, Curve]]) -> list[str]:
    """Return a line for each series, where there are several or several seeds: three parts each."""
    if len(curves) == 1 and curves[0][1] == 1:
        return []
    parts: list[str] = []
    for number, (label, seeds, _) in enumerate(curves):
        y = TOP + 2 + LEGEND_LINE * number
        name = wrap(f"{label} ({seeds} seeds)" if seeds > 1 else label, LEGEND_WIDTH) or [""]
        colour = f"s{number % COLOURS}"
        parts += [
            f'<path class="line {colour}" d="M{LEFT} {y}h26"/>',
            f'<circle class="dot {colour}" cx="{LEFT + 13}" cy="{y}" r="2.5"/>',
            text(LEFT + 32, y + 4, name[0] + (" …" if len(name) > 1 else "")),
        ]
    return parts


def _range(curves: Sequence[tuple[str, int, Curve]]) -> tuple[float, float]:
    low, high = min(float(c.low.min()) for _, _, c in curves), max(float(c.high.max()) for _, _, c in curves)
    pad = 0.06 * (high - low) or 0.5
    return (0.0 if 0 <= low <= 0.5 * high else low - pad), high + pad


def _grid(chart: LineChart, x_axis: _Scale, y_axis: _Scale, height: float) -> list[str]:
    parts = []
    for value in ticks(y_axis.low, y_axis.high, 5):
        y = y_axis(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, y + 4, tick_text(value), "tick", "end"))
    for value in ticks(x_axis.low, x_axis.high, whole=True):
        parts.append(text(x_axis(value), height - BOTTOM + 16, tick_text(value), "tick", "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<path class="axis" d="M{LEFT} {height - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(text(middle, height - 5, chart.x_label, "label", "middle"))
    return parts


def _curve(curve: Curve, number: int, x_axis: _Scale, y_axis: _Scale) -> list[str]:
    colour, parts = f"s{number % COLOURS}", []
    xs = [x_axis(float(x)) for x in curve.x]
    if bool((curve.high > curve.low).any()):
        there = [f"{x:.1f} {y_axis(float(y)):.1f}" for x, y in zip(xs, curve.high, strict=True)]
        back = [f"{x:.1f} {y_axis(float(y)):.1f}" for x, y in zip(xs, curve.low, strict=True)][::-1]
        parts.append(f'<path class="band {colour}" d="M{"L".join(there + back)}Z"/>')
    ys = [y_axis(float(y)) for y in curve.mean]
    if len(xs) > 1:
        points = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<path class="line {colour}" d="M{points}"/>')
    parts.append(f'<circle class="dot {colour}" cx="{xs[-1]:.1f}" cy="{ys[-1]:.1f}" r="3"/>')
    return parts


def _bars(chart: BarChart, style: str) -> str:
    if not chart.bars:
        raise ValueError(f"chart '{chart.name}' has no bar")
    height = BAR_TOP + BAR * len(chart.bars) + BOTTOM - 4
    low = min(0.0, *(bar.interval[0] if bar.interval else bar.value for bar in chart.bars))
    high = max(bar.interval[1] if bar.interval else bar.value for bar in chart.bars)
    axis = _Scale(low, high, BAR_LEFT, WIDTH - BAR_RIGHT)
    bottom = BAR_TOP + BAR * len(chart.bars)
    parts = [text(10, 17, chart.title, "title")]
    for value in ticks(axis.low, axis.high, 4):
        parts.append(f'<path class="grid" d="M{axis(value):.1f} {BAR_TOP - 4}V{bottom}"/>')
        parts.append(text(axis(value), bottom + 14, tick_text(value), "tick", "middle"))
    for number, bar in enumerate(chart.bars):
        parts += _bar(bar, axis, BAR_TOP + BAR * number)
    parts.append(text((BAR_LEFT + WIDTH - BAR_RIGHT) / 2, height - 3, chart.x_label, "label", "middle"))
    return svg(chart.title, WIDTH, height, parts, style)


def _bar(bar: Bar, axis: _Scale, top: float) -> list[str]:
    middle, colour = top + BAR / 2, f"s{bar.colour % COLOURS}"
    label = bar.label if len(bar.label) <= 21 else bar.label[:20] + "…"
    words = [text(BAR_LEFT - 8, middle + 4, label, "", "end")]
    if bar.interval is None:
        start, stop = sorted((axis(0.0), axis(bar.value)))
        shape = (
            f'<rect class="bar {colour}" x="{start:.1f}" y="{top + 5}" width="{max(stop - start, 1):.1f}" height="16"/>'
        )
        return [*words, shape, text(stop + 6, middle + 4, bar.text, "number")]
    low, high = axis(bar.interval[0]), axis(bar.interval[1])
    shape = (
        f'<path class="whisker {colour}" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} '
        f'{middle - 4}v8"/><circle class="dot {colour}" cx="{axis(bar.value):.1f}" cy="{middle}" r="4.5"/>'
    )
    return [*words, shape, text(high + 7, middle + 4, bar.text, "number")]
