"""What k completions of a problem reach: at least one is right (pass@k), or their majority is (maj@k)."""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
MOST_COMPLETIONS = 1000
"""Of a problem: binomials of more are beyond what a float holds."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the chance that one of k different completions, drawn from n, is correct: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021 (arXiv 2107.03374), equation 1: unbiased for the chance with k fresh completions. k = 1 gives
    c / n, k = n whether any is correct. Raises ValueError unless 0 <= correct <= n and 1 <= k <= n.
    """
    _check(n, k)
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} completions cannot be correct")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def majority_at_k(votes: Sequence[str | None], correct: Sequence[bool], k: int) -> float:
    """Return the chance that the majority of k different completions, drawn from all, is correct.

    The mean over all C(n, k) subsets of: the answers with most votes are found (None is an abstention); among several
    with equally many one is drawn with equal chances; it counts with the share of its completions that are correct, 0
    or 1 unless a verifier judges equal answers differently. A subset without any vote counts 0. Nothing is drawn: for
    each number of votes s that can win, the subsets are counted in which no answer has more than s votes and t >= 1
    have s, by multiplying polynomials in the number of completions taken and of answers with s votes, one answer after
    the other. k = 1 gives the share of correct completions among those that vote, times the share that vote.
    Raises ValueError unless 1 <= k <= n <= 1000 and there is one entry a completion.
    """
    n = len(votes)
    _check(n, k)
    if n > MOST_COMPLETIONS:
        raise ValueError(f"{n} completions of a problem are too many to count: at most {MOST_COMPLETIONS}")
    if len(correct) != n:
        raise ValueError(f"{n} votes and {len(correct)} verdicts do not belong together")
    members: dict[str, list[bool]] = {}
    for vote, right in zip(votes, correct, strict=True):
        if vote is not None:
            members.setdefault(vote, []).append(right)
    answers = [(len(marks), sum(marks) / len(marks)) for marks in members.values()]
    if not any(value for _, value in answers):
        return 0.0
    abstaining = n - sum(size for size, _ in answers)
    largest = max(size for size, _ in answers)
    if k == n:
        winners = [value for size, value in answers if size == largest]
        return sum(winners) / len(winners)
    total = sum(_won_with(answers, abstaining, k, s) for s in range(1, min(k, largest) + 1))
    # Shares of 0 and 1 are exact, so that they can be told from others; 12 digits are what sums of floats keep.
    return round(total / comb(n, k), 12)


def _won_with(answers: Sequence[tuple[int, float]], abstaining: int, k: int, s: int) -> float:
    """Return the sum, over subsets of k whose winners have s votes, of the mean value of the winners.

    ``ways[x, t]`` counts choices of x completions, of the answers so far, in which t answers have s votes and none has
    more; ``values[x, t]`` sums the values of those t answers over the same choices.
    """
    most = min(len(answers), k // s)
    ways, values = np.zeros((k + 1, most + 1)), np.zeros((k + 1, most + 1))
    for taken in range(min(abstaining, k) + 1):
        ways[taken, 0] = comb(abstaining, taken)
    for size, value in answers:
        new_ways, new_values = np.zeros_like(ways), np.zeros_like(values)
        for taken in range(min(size, s, k) + 1):
            number = float(comb(size, taken))
            if taken < s:
                new_ways[taken:] += number * ways[: k + 1 - taken]
                new_values[taken:] += number * values[: k + 1 - taken]
            else:
                before = ways[: k + 1 - taken, :-1]
                new_ways[taken:, 1:] += number * before
                new_values[taken:, 1:] += number * (values[: k + 1 - taken, :-1] + value * before)
        ways, values = new_ways, new_values
    return float((values[k, 1:] / np.arange(1, most + 1)).sum())


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}: it must be at least 1 and at most the {n} completions of a problem")
