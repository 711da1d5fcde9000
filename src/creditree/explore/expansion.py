"""Which completions of a group grow branches: fewer where the problem is easy (arXiv 2509.26628, equation 9)."""

from collections.abc import Sequence
from math import ceil, exp, floor
from typing import Literal

from creditree.rng import Key

Rounding = Literal["ceil", "round"]
OfAllCorrect = Literal["first", "random"]


def num_expanded(correct: int, group: int, rounding: Rounding = "ceil") -> int:
    """Return M = G exp(-z) for z = correct / G: rounded up (the authors' code) or to the nearest (as printed)."""
    trees = group * exp(-correct / group)
    return ceil(trees) if rounding == "ceil" else floor(trees + 0.5)


def plan_expansion(
    correct: Sequence[bool], key: Key, *, rounding: Rounding = "ceil", of_all_correct: OfAllCorrect = "first"
) -> tuple[int, ...]:
    """Return which of G completions to expand, in order, given which are correct.

    M of them (`num_expanded`): the minority (the wrong ones from an accuracy of 1/2 on) first, all of it, and random
    ones of the majority. Where none is correct, all; where all are, the ``first`` M or M ``random`` ones.
    """
    group = len(correct)
    right = [i for i in range(group) if correct[i]]
    wrong = [i for i in range(group) if not correct[i]]
    if not group or not right:
        return tuple(range(group))
    count = num_expanded(len(right), group, rounding)
    if not wrong and of_all_correct == "first":
        return tuple(range(count))
    minority, majority = (wrong, right) if 2 * len(right) >= group else (right, wrong)
    drawn = key.at("expand").choose(count - len(minority), len(majority))
    return tuple(sorted([*minority, *(majority[i] for i in drawn)]))
