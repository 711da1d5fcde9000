"""The figures of an evaluation: pass@k and maj@k with intervals, and what a solved problem costs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.evaluate.at_k import majority_at_k, pass_at_k
from creditree.evaluate.statistics import (
    Difference,
    Estimate,
    bootstrap_mean,
    paired_difference,
    paired_mean_difference,
    wilson,
)
from creditree.rng import Key
from creditree.runs.attempts import Attempt


@dataclass(frozen=True, eq=False, slots=True)
class Scores:
    """`passes` and `majorities` by k, of the problems with at least k judged completions.

    `tokens_per_solved`: tokens of all completions for each correct one; None: none was correct.

    For one completion a problem that is the tokens for each solved problem; for several, what one correct completion
    costs on average where problems are asked once each.
    """

    passes: Mapping[int, Estimate]
    majorities: Mapping[int, Estimate]
    truncation_rate: float
    tokens_per_solved: float | None


def scores(evaluation: Evaluation, ks: Sequence[int], key: Key) -> Scores:
    """Return the figures of an evaluation; `key` draws the bootstrap. Raises ValueError for a k that does not fit."""
    passes, majorities = ({k: of(evaluation, k) for k in ks} for of in (pass_values, majority_values))
    return Scores(
        passes={k: mean_over_problems(own, key.at("interval", "pass", k)) for k, own in passes.items() if own},
        majorities={
            k: mean_over_problems(own, key.at("interval", "majority", k)) for k, own in majorities.items() if own
        },
        truncation_rate=evaluation.num_truncated / evaluation.num_completions,
        tokens_per_solved=evaluation.num_tokens / evaluation.num_correct if evaluation.num_correct else None,
    )


def pass_values(evaluation: Evaluation, k: int) -> list[float]:
    """Return the unbiased pass@k of every problem with at least k judged completions."""
    return _by_problem(evaluation, k, lambda own: pass_at_k(len(own), sum(map(is_correct, own)), k))


def majority_values(evaluation: Evaluation, k: int) -> list[float]:
    """Return the maj@k of every problem, expected over its subsets of k completions."""
    return _by_problem(
        evaluation,
        k,
        lambda own: majority_at_k([attempt.vote for attempt in own], [is_correct(attempt) for attempt in own], k),
    )


def majority_vote(own: Sequence[Attempt]) -> str | None:
    """Return the answer with most votes among a problem's completions, the earliest of equals; None without a vote."""
    votes = Counter(attempt.vote for attempt in own if attempt.vote is not None)
    return votes.most_common(1)[0][0] if votes else None


def mean_over_problems(values: Sequence[float], key: Key) -> Estimate:
    """Return the mean of one value a problem with its 95 % interval over problems.

    Wilson's where every value is 0 or 1, as always for one completion a problem: it has a width even where all are
    equal. Else a percentile bootstrap that redraws problems with all their completions (a cluster bootstrap: the
    problem is the cluster, since its completions are alike). Raises ValueError for no values.
    """
    if values and all(value in (0.0, 1.0) for value in values):
        return wilson(round(sum(values)), len(values))
    return bootstrap_mean(values, key)


def difference(before: Evaluation, after: Evaluation, key: Key) -> Difference:
    """Return after - before in pass@1, paired by problem: `paired_change` of the shares of correct completions.

    Problems without a judged completion on one side make no pair. Raises ValueError where the problems differ.
    """
    if before.attempts.keys() != after.attempts.keys():
        raise ValueError("before and after were measured on different problems: they make no pairs")
    old, new = before.share_correct, after.share_correct
    pairs = [name for name in new if name in old]
    return paired_change([old[name] for name in pairs], [new[name] for name in pairs], key)


def paired_change(before: Sequence[float], after: Sequence[float], key: Key) -> Difference:
    """Return the difference of paired shares, problem by problem.

    Where all are 0 or 1: Newcombe's interval and McNemar's exact test (`paired_difference`); else a bootstrap over
    problems and a sign-flip permutation test (`paired_mean_difference`). Raises ValueError for unequal lengths.
    """
    if all(value in (0.0, 1.0) for value in (*before, *after)):
        return paired_difference(before, after)
    return paired_mean_difference(before, after, key.at("difference"))


def _by_problem(evaluation: Evaluation, k: int, value: Callable[[Sequence[Attempt]], float]) -> list[float]:
    unjudged = {name for name, own in evaluation.judged.items() if len(own) < k <= len(evaluation.attempts[name])}
    return [value(own) for name, own in evaluation.judged.items() if name not in unjudged]
