"""The pictures of docs/concepts.md, drawn from the numbers of `concepts.py`."""

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

INK, FAINT, PAPER = "#222222", "#8a8a8a", "#ffffff"
VALUES = colormaps["viridis"]
ADVANTAGES = colormaps["PuOr"]
LEARNS = "#2a9d8f"
LINES = {"policy_gradient": "-", "likelihood": "--", "clipped": "-.", "cispo": ":"}


def draw(numbers: dict[str, Any], folder: Path) -> None:
    """Write the four pictures."""
    look: Any = {"svg.fonttype": "none", "svg.hashsalt": "creditree", "font.size": 9, "text.color": INK}
    with mpl.rc_context(look):
        for name, picture in {
            "tree": tree_picture(numbers["tree"]),
            "credit": credit_picture(numbers),
            "select": select_picture(numbers["group"]),
            "objective": objective_picture(numbers["objective"]),
        }.items():
            written = StringIO()
            picture.savefig(written, format="svg", metadata={"Date": None}, facecolor=PAPER)
            (folder / f"{name}.svg").write_text(_short(written.getvalue()), encoding="utf-8")


def _short(svg: str) -> str:
    """Return the picture with two digits after the point, which is a hundredth of a pixel."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}", svg)


def tree_picture(tree: dict[str, Any]) -> Figure:
    """A row a branch; what runs on without a fork is one bar, as high as it has completions, coloured by its value."""
    figure, axes = _panel(1, 3.2)
    branches, order = tree["branches"], _rows(tree["branches"])
    for span in tree["spans"]:
        branch = branches[span["branch"]]
        start, row = branch["fork"] + span["start"], order[span["branch"]]
        height = 0.22 + 0.13 * span["completions"]
        colour = VALUES(0.15 + 0.75 * span["value"])
        axes.add_patch(
            Rectangle(
                (start, -row - height / 2), span["stop"] - span["start"], height, color=colour, lw=0, clip_on=False
            )
        )
        if span["stop"] - span["start"] > 3:
            label = f"V = {span['value']:.2f}".rstrip("0").rstrip(".")
            axes.text(start + 0.2, -row + height / 2 + 0.05, label, fontsize=7, color=FAINT)
        for offset in range(span["start"], span["stop"]):
            _letter(axes, branch["fork"] + offset, -row, branch["tokens"][offset], _ink_on(colour))
    for index, branch in enumerate(branches):
        if branch["parent"] is not None:
            top = order[branch["parent"]]
            axes.plot([branch["fork"]] * 2, [-top, -order[index]], color=FAINT, lw=1, zorder=0)
        end = branch["fork"] + len(branch["tokens"])
        verdict = "right" if branch["reward"] else "wrong"
        axes.text(end + 0.5, -order[index], f"R = {branch['reward']:.0f}  {verdict}", va="center", fontsize=8)
    _framed(axes, len(branches), f"{tree['question']}   (answer {tree['answer']})")
    return figure


def credit_picture(numbers: dict[str, Any]) -> Figure:
    """The same six completions under three credits."""
    figure = Figure(figsize=(8, 6.6), layout="constrained")
    panels = figure.subplots(3, 1)
    group, tree = numbers["group"], numbers["tree"]
    for axes, (title, branches, field) in zip(
        panels,
        (
            ("group_relative (GRPO): one number a completion", group["branches"], group["group_relative"]),
            ("prefix_gain (T-SPMO): the token after which things changed", group["branches"], group["prefix_gain"]),
            ("process_value (TreeRL, AttnRL): a segment between two forks", tree["branches"], tree["process_value"]),
        ),
        strict=True,
    ):
        largest = max(abs(value) for values in field if values for value in values)
        order = _rows(branches)
        for index, branch in enumerate(branches):
            for offset, token in enumerate(branch["tokens"]):
                advantage = 0.0 if field[index] is None else field[index][offset]
                colour = ADVANTAGES(0.5 + 0.5 * advantage / largest)
                _cell(axes, branch["fork"] + offset, -order[index], colour, token)
            _end(axes, branch, -order[index])
        _framed(axes, len(branches), title)
        axes.text(33.4, 0.75, f"purple: up to {largest:.2f}\norange: down to -{largest:.2f}", fontsize=7, va="top")
    return figure


def select_picture(group: dict[str, Any]) -> Figure:
    """Which tokens of the six completions learn, by four selections."""
    figure = Figure(figsize=(8, 8), layout="constrained")
    titles = {
        "everything": "everything (GRPO, TreeRL, AttnRL)",
        "early_and_random": "early_and_random (S-GRPO), alpha = 4, P = 0.3, k = 10",
        "top_entropy": "top_entropy, q = 0.2",
        "branching_pairs": "branching_pairs (T-SPMO)",
    }
    panels: Sequence[Axes] = figure.subplots(4, 1)
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        learning = 0
        for index, branch in enumerate(group["branches"]):
            weights = group["weights"][name][index] or [0.0] * len(branch["tokens"])
            for offset, token in enumerate(branch["tokens"]):
                learning += weights[offset] > 0
                _cell(axes, offset, -index, LEARNS if weights[offset] > 0 else "#eeeeee", token)
            _end(axes, branch, -index)
        total = sum(len(branch["tokens"]) for branch in group["branches"])
        _framed(axes, len(group["branches"]), f"{title}: {learning} of {total} tokens")
    return figure


def objective_picture(found: dict[str, Any]) -> Figure:
    """How hard a term pushes the log-probability of its token, by how far the policy has moved since sampling."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=False)
    for axes, (sign, title) in zip(panels, (("good", "advantage +1"), ("bad", "advantage -1")), strict=True):
        for name, line in LINES.items():
            axes.plot(found["ratios"], found["push"][name][sign], line, label=name, lw=1.8)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(f"pi / pi_old  (pi_old = {found['pi_old']})")
        axes.axvline(1.0, color=FAINT, lw=0.8, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("push on log pi")
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def _rows(branches: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Return the row of each branch: below the one that it was forked from."""
    order: list[int] = []

    def put(parent: int | None) -> None:
        for index, branch in enumerate(branches):
            if branch["parent"] == parent:
                order.append(index)
                put(index)

    put(None)
    return {index: row for row, index in enumerate(order)}


def _panel(rows: int, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots(rows, 1)


def _cell(axes: Axes, x: float, y: float, colour: Any, token: str) -> None:
    axes.add_patch(Rectangle((x + 0.04, y - 0.42), 0.92, 0.84, color=colour, lw=0, clip_on=False))
    _letter(axes, x, y, token, _ink_on(colour))


def _ink_on(colour: Any) -> str:
    red, green, blue, _ = mpl.colors.to_rgba(colour)
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.55 else INK


def _letter(axes: Axes, x: float, y: float, token: str, colour: str) -> None:
    axes.text(x + 0.5, y, {"\n": "↵", "": "■"}.get(token, token), ha="center", va="center", fontsize=8, color=colour)


def _end(axes: Axes, branch: dict[str, Any], y: float) -> None:
    end = branch["fork"] + len(branch["tokens"])
    axes.text(end + 0.4, y, f"R = {branch['reward']:.0f}", va="center", fontsize=8)


def _framed(axes: Axes, rows: int, title: str) -> None:
    axes.set(xlim=(-0.3, 38), ylim=(-rows + 0.4, 0.85))
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.set_axis_off()
