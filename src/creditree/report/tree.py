"""The rollout trees of a problem for a terminal: text by value, where it branched and why, and what became of each."""

import re

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from creditree.overview.trees import Segment, ShownForest, ShownTree
from creditree.report.page.payload import fork_words, verdict_words
from creditree.text import one_line, printable
from creditree.tree import Branch

LONGEST = 240
"""Characters of a segment that are shown."""
STYLES = ("red", "dark_orange", "yellow", "cyan", "blue")
"""From the worst value to the best; the number is printed beside it, for whoever sees no colours."""
SPACES = re.compile(r"\s+")


def tree_view(forest: ShownForest) -> RenderableType:
    """Return all trees of a problem: what was selected to learn is bold, and each run of it ends with its advantage."""
    problem = forest.trees[0].tree.problem
    head = Text(f"step {forest.step}, problem {problem.id}: {one_line(problem.question, 4 * LONGEST)}", style="bold")
    accepted = Text(f"accepted: {one_line(' or '.join(problem.answers))}", style="dim")
    return Group(head, accepted, *(_view(shown, number) for number, shown in enumerate(forest.trees, start=1)))


def _view(shown: ShownTree, number: int) -> RenderableType:
    kept = len(shown.tree.kept_ids)
    origin = "" if shown.origin is None else f" of completion {shown.origin + 1}"
    title = f"tree {number}" + (f", replayed from {kept} tokens{origin}" if kept else "")
    root = Tree(Text(f"{title}: {len(shown.rows)} completions"))
    places: dict[int | None, Tree] = {None: root}
    for index, segment in enumerate(shown.segments):
        places[index] = places[segment.parent].add(_segment(shown, segment))
        for line, numbers in _ending(shown, segment):
            many = "s" if len(numbers) > 1 else ""
            places[index].add(Text(f"completion{many} {', '.join(map(str, numbers))}: ").append_text(line))
    return Group(root, *(Text(f"- {fork_words(fork)}", style="dim") for fork in shown.forks))


def _segment(shown: ShownTree, segment: Segment) -> Text:
    """Return the tokens of a segment, in the colour of its value."""
    style = "bright_black" if segment.value is None else STYLES[round(max(0.0, min(1.0, segment.value)) * 4)]
    value = "  ?" if segment.value is None else f"{segment.value:.2f}"
    text = Text(f"{value} ", style=style)
    left = LONGEST
    tokens = _tokens(shown, segment)
    for place, (piece, advantage, weight) in enumerate(tokens):
        words = SPACES.sub(" ", printable(piece))
        left -= len(words)
        if left < 0:
            text.append(" ...")
            break
        text.append(words, style=f"bold {style}" if weight else style)
        following = tokens[place + 1][1:] if place + 1 < len(tokens) else None
        if weight and advantage and following != (advantage, weight):
            text.append(f"[{advantage:+.2g}]", style="dim")
    return text


def _tokens(shown: ShownTree, segment: Segment) -> list[tuple[str, float, float]]:
    """Return text, advantage and weight of the tokens of a segment: those of the first completion that has them."""
    tokens: list[tuple[str, float, float]] = []
    stored, start = shown.stored, 0
    for index, stop in shown.tree.path(segment.leaf):
        pieces, a, w = stored.pieces[index], stored.advantages[index], stored.weights[index]
        ids = shown.tree.branches[index].token_ids
        for place in range(stop):
            if segment.start <= start + place < segment.stop:
                text = f"#{ids[place]} " if pieces is None else pieces[place]
                tokens.append((text, 0.0 if a is None else float(a[place]), 0.0 if w is None else float(w[place])))
        start += stop
    return tokens


def _ending(shown: ShownTree, segment: Segment) -> list[tuple[Text, list[int]]]:
    """Return what became of the completions that end with a segment: those of which the same is said together."""
    lines: dict[str, tuple[Text, list[int]]] = {}
    for leaf, branch in enumerate(shown.tree.branches):
        if branch.end == segment.stop and segment.row <= shown.rows[leaf] < segment.row + segment.rows:
            line = _leaf(branch)
            lines.setdefault(line.plain, (line, []))[1].append(leaf + 1)
    return list(lines.values())


def _leaf(branch: Branch) -> Text:
    reward = "no reward" if branch.reward is None else f"reward {branch.reward:g}"
    style = "bright_black" if branch.reward is None else "green" if branch.reward > 0 else "red"
    return Text(f"{reward}, {verdict_words(branch)}", style=style)
