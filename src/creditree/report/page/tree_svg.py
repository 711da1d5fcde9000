"""A rollout tree as a picture: depth to the right, one line a completion, width by completions, colour by value."""

from collections.abc import Sequence

from creditree.overview.trees import ForkPoint, Segment, ShownTree
from creditree.report.page.chart import tick_text, ticks
from creditree.report.page.svg import svg, text

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 12, 62, 14, 34
MOST_HEIGHT, HIGHEST_ROW, LOWEST_ROW = 330, 22, 4
SHADES = 10
"""Colours from the worst reward to the best."""


def tree_svg(shown: ShownTree, style: str = "") -> str:
    """Return the picture of a tree."""
    tree = shown.tree
    rows = len(tree.branches)
    row = min(HIGHEST_ROW, max(LOWEST_ROW, MOST_HEIGHT / max(1, rows)))
    deepest = max((segment.stop for segment in shown.segments), default=1)
    scale = (WIDTH - LEFT - RIGHT) / deepest
    bottom = TOP + row * rows
    rewards = [branch.reward for branch in tree.branches if branch.reward is not None]
    worst, best = min(0.0, *rewards, 0.0), max(1.0, *rewards, 1.0)
    parts = [_segment(shown, segment, scale, row, (worst, best)) for segment in shown.segments]
    parts += [_fork(shown, fork, scale, row) for fork in shown.forks]
    if row >= 9:
        parts += [_reward(tree.branches[leaf].reward, line, row) for leaf, line in enumerate(shown.rows)]
    for value in ticks(0, deepest, 10, whole=True):
        x = LEFT + value * scale
        parts.append(f'<path class="grid" d="M{x:.1f} {bottom + 2:.1f}v5"/>')
        parts.append(text(x, bottom + 18, tick_text(value), "tick", "middle"))
    parts.append(text((WIDTH - RIGHT) / 2, bottom + 31, "tokens from the root", "label", "middle"))
    title = f"rollout tree of problem {tree.problem.id}: {rows} completions"
    return svg(title, WIDTH, bottom + BOTTOM, parts, style, "chart tree")


def shade(value: float | None, worst: float, best: float) -> str:
    """Return the class of a value's colour; "vn" where it has none."""
    return "vn" if value is None else f"v{round((value - worst) / (best - worst) * SHADES)}"


def _segment(shown: ShownTree, segment: Segment, scale: float, row: float, span: tuple[float, float]) -> str:
    value = "nobody judged it" if segment.value is None else f"value {segment.value:.3g}"
    said = f"tokens {segment.start + 1} to {segment.stop}, {segment.rows} of {len(shown.rows)} completions, {value}"
    gap = min(1.0, row / 6)
    width = max(0.8, (segment.stop - segment.start) * scale - 1)
    place = f'data-leaf="{segment.leaf}" data-start="{segment.start}" data-stop="{segment.stop}"'
    return (
        f'<rect class="seg {shade(segment.value, *span)}" x="{LEFT + segment.start * scale:.1f}" '
        f'y="{TOP + segment.row * row:.1f}" width="{width:.1f}" height="{segment.rows * row - gap:.1f}" '
        f"{place}><title>{said}</title></rect>"
    )


def _fork(shown: ShownTree, fork: ForkPoint, scale: float, row: float) -> str:
    """Return a line from the completion that was forked to those that go on from it."""
    x = LEFT + fork.at * scale
    lines: Sequence[int] = [shown.rows[leaf] for leaf in (fork.parent, *fork.children)]
    top, bottom = (TOP + (line + 0.5) * row for line in (min(lines), max(lines)))
    origin = TOP + (shown.rows[fork.parent] + 0.5) * row
    return (
        f'<path class="fork" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>'
        f'<circle class="fork" cx="{x:.1f}" cy="{origin:.1f}" r="3.2"/>'
    )


def _reward(reward: float | None, line: int, row: float) -> str:
    words = "none" if reward is None else f"{reward:.3g}"
    return text(WIDTH - RIGHT + 6, TOP + (line + 0.5) * row + 4, words, "number")
