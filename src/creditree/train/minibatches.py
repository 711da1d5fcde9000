"""Mini-batches: which problems of a training step make one optimiser step together."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.fields import TokenField, trained_leaves
from creditree.rng import Key
from creditree.tree import Forest


@dataclass(frozen=True, slots=True)
class Size:
    """What a problem adds to a mini-batch: completions that are trained on, and tokens that are forwarded at most."""

    rows: int
    tokens: int

    @classmethod
    def of(cls, forest: Forest, advantages: tuple[TokenField, ...]) -> "Size":
        """Return a forest's size; a token that completions share is forwarded once."""
        pairs = list(zip(forest, advantages, strict=True))
        rows = sum(len(trained_leaves(tree, field)) for tree, field in pairs)
        tokens = sum(len(values) for _, field in pairs for values in field if values is not None)
        return cls(rows, tokens + (len(forest[0].prompt_ids) if rows else 0))


def minibatches(sizes: Sequence[Size], mini_batch: int | None, key: Key) -> list[list[int]]:
    """Return which problems make each optimiser step, indices ascending; each problem is in exactly one.

    There are round(completions / mini_batch) steps, at least one and at most one a problem that is trained on. Problems
    are shuffled, then the longest first goes to the step with the fewest tokens so far, of equals to the one with the
    fewest problems; the steps' order is shuffled too. `mini_batch` None: one step of all.
    """
    everything = list(range(len(sizes)))
    rows = sum(size.rows for size in sizes)
    most = sum(size.rows > 0 for size in sizes)
    count = 1 if mini_batch is None else max(1, min(most, int(rows / mini_batch + 0.5)))
    if count == 1:
        return [everything]
    batches: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    shuffled = key.at("problems").choose(len(sizes), len(sizes))
    for index in sorted(shuffled, key=lambda index: -sizes[index].tokens):
        lightest = min(range(count), key=lambda batch: (tokens[batch], len(batches[batch])))
        batches[lightest].append(index)
        tokens[lightest] += sizes[index].tokens
    return [sorted(batches[batch]) for batch in key.at("steps").choose(count, count)]
