"""Charts: round ticks, and pictures that say what they are of."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.overview.trees import shown_forest
from creditree.report.curves import Series
from creditree.report.page.chart import Bar, BarChart, LineChart, tick_text, ticks
from creditree.report.page.svg import chart_svg
from creditree.report.page.tree_svg import shade, tree_svg
from tests.stored_run import HOSTILE, forked_tree
from tests.unit.overview.test_trees import stored

SVG = "{http://www.w3.org/2000/svg}"
LINES = LineChart(
    "reward",
    "Reward",
    "step",
    "mean",
    [Series("one", [([1, 2, 3], [0.0, 0.5, 1.0])]), Series("two", [([1, 3], [1, 0]), ([1, 3], [2, 2])])],
)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (10, 60, [10, 20, 30, 40, 50, 60]),
        (-0.3, 0.3, [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@given(low=st.floats(-1e6, 1e6), size=st.floats(1e-3, 1e6), whole=st.booleans())
def test_ticks_lie_inside_and_are_few(low: float, size: float, whole: bool) -> None:
    found = ticks(low, low + size, whole=whole)
    assert len(found) <= 7
    assert all(low - 1e-6 * size <= tick <= low + size * (1 + 1e-6) for tick in found)
    assert not whole or all(tick == int(tick) for tick in found)


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.25, "0.25"), (1500, "1.5k"), (2e6, "2M"), (1e-17, "0")])
def test_a_tick_in_words(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_a_line_for_each_series_and_a_band_where_seeds_differ() -> None:
    page = parsed(chart_svg(LINES))
    kinds = [path.get("class") or "" for path in page.iter(f"{SVG}path")]
    assert kinds.count("line s0") == kinds.count("line s1") == 2  # in the legend, and drawn
    assert [kind for kind in kinds if "band" in kind] == ["band s1"]
    words = [element.text for element in page.iter(f"{SVG}text")]
    assert {"Reward", "one", "two (2 seeds)", "step", "mean"} <= set(words)
    # 1 to 3 lies over x = 56 to 446; 0.5 of 0 .. 2.12 over y = 246 down: the middle of the first line is at 251.
    assert "251.0" in next(
        path.get("d") or ""
        for path in page.iter(f"{SVG}path")
        if path.get("class") == "line s0" and "L" in (path.get("d") or "")
    )


def test_a_bar_is_as_long_as_its_number() -> None:
    page = parsed(
        chart_svg(
            BarChart(
                "n", "Tokens", "tokens", [Bar("a", 10.0, "10"), Bar("b", 5.0, "5"), Bar("c", 5.0, "5 %", (2.0, 8.0))]
            )
        )
    )
    first, second = (float(bar.get("width") or 0) for bar in page.iter(f"{SVG}rect"))
    assert first == pytest.approx(2 * second, rel=1e-3)
    assert len(list(page.iter(f"{SVG}circle"))) == 1


def test_texts_are_texts() -> None:
    chart = LineChart("x", HOSTILE, "a & b", "\x1b[31m", [Series(HOSTILE, [([1, 2], [1, 2]), ([1, 2], [1, 2])])])
    page = parsed(chart_svg(chart))
    assert not list(page.iter(f"{SVG}script"))
    assert HOSTILE in [element.text for element in page.iter(f"{SVG}text")]
    assert "\\x1b[31m" in [element.text for element in page.iter(f"{SVG}text")]


def test_a_chart_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="'x' has no line"):
        chart_svg(LineChart("x", "", "", "", []))
    with pytest.raises(ValueError, match="'x' has no bar"):
        chart_svg(BarChart("x", "", "", []))


def test_a_tree_has_a_box_for_each_segment_and_a_mark_at_each_fork() -> None:
    (shown,) = shown_forest(1, (stored(forked_tree()),)).trees
    svg = tree_svg(shown)
    page = parsed(svg)
    boxes = list(page.iter(f"{SVG}rect"))
    assert len(boxes) == len(shown.segments) == 6
    first = boxes[0]
    assert (first.get("data-leaf"), first.get("data-start"), first.get("data-stop")) == ("0", "0", "2")
    assert [title.text for title in first] == ["tokens 1 to 2, 3 of 4 completions, value 0.667"]
    # Three of four rows of 22, and half as deep as the tree: (900 - 12 - 62) / 4 * 2 - 1 = 412.
    assert (first.get("height"), first.get("width")) == ("65.0", "412.0")
    assert len(list(page.iter(f"{SVG}circle"))) == 1
    assert re.findall(r"v\d+|vn", " ".join(box.get("class") or "" for box in boxes)) == [
        "v7",
        "v0",
        "v10",
        "v10",
        "v10",
        "vn",
    ]


def test_shades_go_from_the_worst_to_the_best() -> None:
    assert [shade(value, -1.0, 1.0) for value in (-1.0, 0.0, 1.0, None)] == ["v0", "v5", "v10", "vn"]
