"""Cut a skeleton into stretches that go through the layers one after the other, each token once."""

from dataclasses import dataclass

import numpy as np

from creditree.batch import Batch
from creditree.tree import IntArray


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """Skeleton tokens [n], ascending, that go through the layers together, and the stretches that stand on them.

    An ancestor of a token is in the same stretch, or in one that this one stands on.
    """

    tokens: IntArray
    below: tuple["Stretch", ...] = ()

    @property
    def largest(self) -> int:
        """Most tokens of one stretch, of this one and those below."""
        return max([len(self.tokens), *(stretch.largest for stretch in self.below)])


def stretches_of(batch: Batch, max_tokens: int) -> tuple[Stretch, ...]:
    """Return a batch's skeleton in stretches of at most `max_tokens` tokens, each token in exactly one.

    Subtrees that fit share a stretch with their neighbours. Of one that does not, the path down to where it falls into
    subtrees that do is a stretch of its own, on which the others stand. A run of tokens that no branch interrupts is
    never cut, so a stretch may exceed `max_tokens` by one run.
    """
    if batch.num_tokens <= max_tokens:
        return (Stretch(np.arange(batch.num_tokens)),) if batch.num_terms else ()
    return _stretches(_Siblings(batch.exit, 0, batch.num_tokens), max_tokens)


class _Siblings:
    """Subtrees side by side: those whose roots stand at `start`, at its exit, and so on up to `stop`."""

    def __init__(self, exit_: IntArray, start: int, stop: int) -> None:
        self.exit, self.start, self.stop = exit_, start, stop

    def roots(self) -> list[int]:
        """Return where the subtrees start."""
        roots, at = [], self.start
        while at < self.stop:
            roots.append(at)
            at = int(self.exit[at])
        return roots

    def below(self, root: int) -> tuple[int, "_Siblings"]:
        """Return the end of the run from `root` to a branching or a leaf, and the subtrees that stand on it."""
        stop = int(self.exit[root])
        inside = self.exit[root:stop]
        run = root + int(np.argmax(inside != stop)) if (inside != stop).any() else stop
        return run, _Siblings(self.exit, run, stop)


def _stretches(siblings: _Siblings, max_tokens: int) -> tuple[Stretch, ...]:
    light, heavy = _split(siblings, siblings.roots(), max_tokens)
    return (*_joined_up(light, max_tokens), *(_path(siblings, root, max_tokens) for root in heavy))


def _path(siblings: _Siblings, root: int, max_tokens: int) -> Stretch:
    """Return a subtree that does not fit: its path of subtrees that do not fit, and what stands on it."""
    own: list[IntArray] = []
    standing: list[tuple[int, int]] = []
    while True:
        run, below = siblings.below(root)
        if run == below.stop and own:
            standing.append((root, run))
            return Stretch(np.concatenate(own), _joined_up(standing, max_tokens))
        own.append(np.arange(root, run))
        light, heavy = _split(siblings, below.roots(), max_tokens)
        standing += light
        if len(heavy) != 1 or sum(map(len, own)) > max_tokens:
            paths = (_path(siblings, heavier, max_tokens) for heavier in heavy)
            return Stretch(np.concatenate(own), (*_joined_up(standing, max_tokens), *paths))
        root = heavy[0]


def _split(siblings: _Siblings, roots: list[int], max_tokens: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the subtrees that fit, as (start, stop), and the roots of the others."""
    sizes = {root: int(siblings.exit[root]) - root for root in roots}
    light = [(root, root + size) for root, size in sizes.items() if size <= max_tokens]
    return light, [root for root, size in sizes.items() if size > max_tokens]


def _joined_up(pieces: list[tuple[int, int]], max_tokens: int) -> tuple[Stretch, ...]:
    """Return the pieces of a skeleton as stretches: neighbours together as long as they fit."""
    groups: list[list[IntArray]] = []
    filled = max_tokens
    for start, stop in sorted(pieces):
        if filled + stop - start > max_tokens:
            groups.append([])
            filled = 0
        groups[-1].append(np.arange(start, stop))
        filled += stop - start
    return tuple(Stretch(np.concatenate(parts)) for parts in groups)
