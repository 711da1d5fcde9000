"""The rollout trees of a problem as they are shown: where tokens lie, what they led to, why it was branched there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from creditree.runs.forests import StoredForest, StoredTree
from creditree.tree import FloatArray, IntArray, RolloutTree


@dataclass(frozen=True, slots=True)
class Segment:
    """A maximal run of tokens that the same completions share: those at depths [start, stop) below the root.

    Completions have rows, so that those of a segment lie together: [row, row + rows). `leaf` is the first of them;
    `value`: mean reward of those that were judged, None where none was;  `parent`: index of the segment before it.
    """

    start: int
    stop: int
    row: int
    rows: int
    leaf: int
    value: float | None
    parent: int | None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A number at a fork, and its rank among those of the same kind along the completion: 1 is the largest of `of`."""

    value: float
    rank: int
    of: int


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where other completions go on from one: `at` tokens of completion `parent` are kept, the next is drawn anew.

    `reasons`: what is known of the token there, or of its step, that a branching rule may have gone by (`REASONS`).
    """

    parent: int
    at: int
    children: tuple[int, ...]
    piece: str | None
    reasons: dict[str, Ranked]


@dataclass(frozen=True, eq=False, slots=True)
class ShownTree:
    """A tree as it is shown, with the row of each completion.

    `origin`: the completion of the problem's first tree that the kept tokens are from, None where it keeps none, or no
    one knows.
    """

    stored: StoredTree
    segments: tuple[Segment, ...]
    rows: tuple[int, ...]
    forks: tuple[ForkPoint, ...]
    origin: int | None

    @property
    def tree(self) -> RolloutTree:
        """What was sampled."""
        return self.stored.tree


@dataclass(frozen=True, eq=False, slots=True)
class ShownForest:
    """All trees of a problem in a step; the first is rooted at the prompt."""

    step: int
    trees: tuple[ShownTree, ...]

    @property
    def problem_id(self) -> str:
        """Whose trees they are."""
        return self.trees[0].tree.problem.id

    @property
    def num_tokens(self) -> int:
        """How many tokens were sampled."""
        return sum(len(branch.token_ids) for shown in self.trees for branch in shown.tree.branches)

    @property
    def is_mixed(self) -> bool:
        """Whether completions got different rewards."""
        rewards = {branch.reward for shown in self.trees for branch in shown.tree.branches}
        return len(rewards - {None}) > 1


REASONS = ("entropy", "surprisal", "influence")
"""What is known of forks: entropy before the token, -log p of the token that was drawn first, influence of its step."""


def shown_forest(step: int, forest: StoredForest) -> ShownForest:
    """Return the trees of a problem as they are shown."""
    first = forest[0].tree
    return ShownForest(step, tuple(_shown(stored, first) for stored in forest))


def _shown(stored: StoredTree, first: RolloutTree) -> ShownTree:
    segments, rows = segments_of(stored.tree)
    return ShownTree(stored, segments, rows, forks_of(stored), _origin(stored.tree, first))


def segments_of(tree: RolloutTree) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
    """Return the segments of a tree, branches merged wherever their tokens coincide, and the row of each completion."""
    trie = tree.trie(tree.leaves)
    counts, index = trie.counts, np.arange(len(trie))
    is_head = (index > 0) & ((trie.parent <= 0) | (counts != counts[trie.parent]))
    last = trie.node_of[np.arange(len(trie.lengths)), trie.lengths]
    order = np.lexsort((np.arange(len(last)), last))
    heads = np.flatnonzero(is_head)
    number = np.cumsum(is_head) - 1
    tails = np.append(heads[1:], len(trie)) - 1  # in preorder the nodes of a segment follow one another
    first = np.searchsorted(last[order], heads)
    values = _values(tree.rewards([int(leaf) for leaf in order]), first, counts[heads])
    segments = tuple(
        Segment(
            start=int(trie.depth[head]) - 1,
            stop=int(trie.depth[tail]),
            row=int(row),
            rows=int(counts[head]),
            leaf=int(order[row]),
            value=None if np.isnan(value) else float(value),
            parent=None if trie.parent[head] <= 0 else int(number[trie.parent[head]]),
        )
        for head, tail, row, value in zip(heads, tails, first, values, strict=True)
    )
    return segments, tuple(np.argsort(order).tolist())


def _values(rewards: FloatArray, first: IntArray, counts: IntArray) -> FloatArray:
    """Return the mean of the rewards that there are in each stretch of `counts` rows; NaN where there is none."""
    judged = np.isfinite(rewards)
    sums, numbers = (np.concatenate([[0.0], np.cumsum(x)]) for x in (np.where(judged, rewards, 0.0), judged))
    stop = first + counts
    with np.errstate(invalid="ignore"):
        return np.asarray((sums[stop] - sums[first]) / (numbers[stop] - numbers[first]))


def forks_of(stored: StoredTree) -> tuple[ForkPoint, ...]:
    """Return where completions were forked, those of one completion in order."""
    children: dict[tuple[int, int], list[int]] = {}
    for index, branch in enumerate(stored.tree.branches):
        origin = branch.beside if branch.parent is None else branch.parent
        if origin is not None:
            children.setdefault((origin, branch.fork), []).append(index)
    return tuple(_fork(stored, parent, at, below) for (parent, at), below in sorted(children.items()))


def _fork(stored: StoredTree, parent: int, at: int, children: Sequence[int]) -> ForkPoint:
    branch, pieces = stored.tree.branches[parent], stored.pieces[parent]
    place = at - branch.fork
    known = {"entropy": branch.entropies, "surprisal": -branch.logprobs, "influence": branch.influence}
    reasons = {name: _ranked(known[name], place, by_step=name == "influence") for name in REASONS}
    return ForkPoint(
        parent,
        at,
        tuple(children),
        None if pieces is None else pieces[place],
        {name: ranked for name, ranked in reasons.items() if ranked is not None},
    )


def _ranked(values: FloatArray | None, place: int, *, by_step: bool) -> Ranked | None:
    if values is None or not np.isfinite(values[place]):
        return None
    among = np.array([value for _, _, value in runs_of(values)]) if by_step else values
    return Ranked(float(values[place]), 1 + int((among > values[place]).sum()), len(among))


def runs_of(values: FloatArray) -> list[tuple[int, int, float]]:
    """Return maximal runs [start, stop) of equal numbers: of the influence of tokens, the steps, where they differ."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    stops = np.append(starts[1:], len(values))
    return [(int(start), int(stop), float(values[start])) for start, stop in zip(starts, stops, strict=True)]


def _origin(tree: RolloutTree, first: RolloutTree) -> int | None:
    kept = tree.kept_ids[len(first.kept_ids) :]
    if not len(kept) or tree is first:
        return None
    for leaf in first.leaves:
        if np.array_equal(first.completion(leaf)[: len(kept)], kept):
            return leaf
    return None
