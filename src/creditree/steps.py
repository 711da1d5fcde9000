"""Steps of a completion: runs of tokens that end with a separator (arXiv 2509.26628, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from creditree.tree import IntArray

Step = tuple[int, int]
"""Tokens [start, stop) of a completion."""

STEP_TEXTS = ("\n\n", "\n")
"""What ends a step: the first that occurs in a completion is taken; where none does, every token is a step."""


@dataclass(frozen=True, slots=True)
class Separators:
    """Which tokens end a step, and which sequence of tokens ends the thinking.

    `levels`: sets of token ids, tried in order; the first of which a completion holds any token splits it.
    `think_end`: token ids of "</think>", or () where the model has none.
    """

    levels: tuple[frozenset[int], ...] = ()
    think_end: tuple[int, ...] = ()


def find_separators(
    pieces: Sequence[str], texts: Sequence[str] = STEP_TEXTS, think_end: tuple[int, ...] = ()
) -> Separators:
    """Return the separators of a vocabulary, given every token's text: those that contain each of `texts`."""
    levels = (frozenset(token for token, piece in enumerate(pieces) if text in piece) for text in texts)
    return Separators(tuple(levels), think_end)


def split_steps(token_ids: IntArray, separators: Separators) -> list[Step]:
    """Return the steps of a completion: each ends with its separator; what follows the last one is a step too.

    The steps tile the completion. Without any token there is none.
    """
    ids = np.asarray(token_ids)
    for level in separators.levels:
        ends = np.flatnonzero(np.isin(ids, list(level))) + 1
        if len(ends):
            break
    else:
        ends = np.arange(1, len(ids) + 1)
    stops = [int(end) for end in ends]
    if not len(ids):
        return []
    if stops[-1] != len(ids):
        stops.append(len(ids))
    return list(zip([0, *stops[:-1]], stops, strict=True))


def think_stop(token_ids: IntArray, steps: Sequence[Step], think_end: tuple[int, ...]) -> int | None:
    """Return the index of the step in which the last "</think>" ends, or None where the thinking does not end."""
    ids, size = list(token_ids), len(think_end)
    for start in range(len(ids) - size, -1, -1) if size else ():
        if tuple(ids[start : start + size]) == think_end:
            last = start + size - 1
            return next(index for index, (begin, stop) in enumerate(steps) if begin <= last < stop)
    return None
