"""What a selection's draws add up to: over all of them, each with its chance, or over many keys."""

from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np

from creditree.fields import TokenField
from creditree.rng import Key
from creditree.tree import FloatArray, Forest
from tests.forests import assigned

Weigh = Callable[[Forest, tuple[TokenField, ...], Key], tuple[TokenField, ...]]


class GivenNumbers(Key):
    """A key whose streams are given: the numbers of every completion, by its place in the first tree."""

    def __new__(cls, *args: object) -> "GivenNumbers":
        return object.__new__(cls)

    def __init__(self, numbers: Sequence[Sequence[float]], leaf: int | None = None) -> None:
        object.__setattr__(self, "digest", b"")
        self.__dict__["numbers"], self.__dict__["leaf"] = numbers, leaf

    def at(self, *path: int | str) -> "GivenNumbers":
        """Return the stream of a completion."""
        assert path[:2] == ("mask", 0)
        return GivenNumbers(self.__dict__["numbers"], int(path[2]))

    def uniforms(self, count: int) -> FloatArray:
        """Return the numbers given."""
        return np.array(self.__dict__["numbers"][self.__dict__["leaf"]][:count], dtype=np.float64)


def expectation(
    weigh: Weigh, forest: Forest, advantages: tuple[TokenField, ...], steps: Sequence[float], draws: Sequence[int]
) -> list[FloatArray]:
    """Return the exact mean weights of a forest of one flat tree, over all draws.

    Uniform numbers matter only by which of the intervals between `steps` they fall into; completion i draws `draws[i]`.
    """
    edges = [0.0, *sorted({step for step in steps if 0.0 < step < 1.0}), 1.0]
    cells = [(low + (high - low) / 2, high - low) for low, high in pairwise(edges)]
    total = [np.zeros(len(branch.token_ids)) for branch in forest[0].branches]
    for chosen in product(*(product(cells, repeat=count) for count in draws)):
        chance = float(np.prod([size for completion in chosen for _, size in completion]))
        key = GivenNumbers([[middle for middle, _ in completion] for completion in chosen])
        for sums, values in zip(total, weigh(forest, advantages, key)[0], strict=True):
            sums += chance * assigned(values)
    return total


def simulated(
    weigh: Weigh, forest: Forest, advantages: tuple[TokenField, ...], count: int
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return mean weights over `count` keys, and the standard error of each."""
    found = [
        [assigned(values) for tree in weigh(forest, advantages, Key.of(9).at(draw)) for values in tree]
        for draw in range(count)
    ]
    stacked = [np.stack(values) for values in zip(*found, strict=True)]
    return [one.mean(axis=0) for one in stacked], [one.std(axis=0) / count**0.5 for one in stacked]
