"""Steps of a completion: runs of tokens that end with a separator (arXiv 2509.26628, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from creditree.tree import IntArray

Step = tuple[int, int]
"""Tokens [start, stop) of a completion."""

STEP_TEXTS = ("\n\n", "\n")
"""What ends a step: the first that occurs in a completion is taken; where none does, every token is a step."""

CONCLUSION_TEXTS = ("conclusion", "answer")
"""What announces the answer, in any case: TreeRL forks nothing after it (arXiv 2506.11902, the authors' code)."""


@dataclass(frozen=True, slots=True)
class Separators:
    """Which tokens end a step, which sequence of tokens ends the thinking, and which tokens announce the answer.

    `levels`: sets of token ids, tried in order; the first of which a completion holds any token splits it.
    `think_end`: token ids of "</think>", or () where the model has none.
    `conclusions`: tokens after which the reasoning is over.
    """

    levels: tuple[frozenset[int], ...] = ()
    think_end: tuple[int, ...] = ()
    conclusions: frozenset[int] = frozenset()


def find_separators(
    pieces: Sequence[str],
    texts: Sequence[str] = STEP_TEXTS,
    think_end: tuple[int, ...] = (),
    conclusion_texts: Sequence[str] = CONCLUSION_TEXTS,
) -> Separators:
    """Return the separators of a vocabulary, given the text of every token id: those that contain each of `texts`.

    A text that no token contains is left out. A token that merges a separator with other characters (".\\n\\n") is a
    separator. No id is special: padding and other added tokens are whatever their pieces say.
    """
    tokens_of_texts = (frozenset(token for token, piece in enumerate(pieces) if text in piece) for text in texts)
    levels = tuple(level for level in tokens_of_texts if level)
    lowered = [piece.lower() for piece in pieces]
    conclusions = (token for token, piece in enumerate(lowered) if any(text in piece for text in conclusion_texts))
    return Separators(levels, think_end, frozenset(conclusions))


def split_steps(token_ids: IntArray, separators: Separators) -> list[Step]:
    """Return the steps of a completion: each ends with its separator; what follows the last one is a step too.

    The steps tile the completion. Without any token there is none.
    """
    ids = np.asarray(token_ids)
    if not len(ids):
        return []
    ends = np.arange(1, len(ids) + 1)
    for level in separators.levels:
        places = np.flatnonzero(np.isin(ids, list(level))) + 1
        if len(places):
            ends = places
            break
    stops = ends.tolist()
    if stops[-1] != len(ids):
        stops.append(len(ids))
    return list(zip([0, *stops[:-1]], stops, strict=True))


def think_stop(token_ids: IntArray, steps: Sequence[Step], think_end: tuple[int, ...]) -> int | None:
    """Return the index of the step in which the last "</think>" ends, or None where the thinking does not end."""
    ids, size = np.asarray(token_ids), len(think_end)
    if not 0 < size <= len(ids):
        return None
    starts = np.flatnonzero((sliding_window_view(ids, size) == think_end).all(axis=1))
    if not len(starts):
        return None
    stops = [stop for _, stop in steps]
    return int(np.searchsorted(stops, starts[-1] + size - 1, side="right"))
