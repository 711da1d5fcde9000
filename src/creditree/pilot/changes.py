"""Where the trained model got better and where worse: groups of problems, and how answers changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditree.evaluate.accuracy import Evaluation, is_correct
from creditree.evaluate.scores import paired_change
from creditree.evaluate.statistics import Difference, holm
from creditree.problem import Problem
from creditree.rng import Key

LEAST_IN_GROUP = 5


@dataclass(frozen=True, slots=True)
class GroupChange:
    """The accuracy of a group of problems before and after; `adjusted_p` is Holm's over all groups."""

    name: str
    n: int
    before: float
    after: float
    difference: Difference
    adjusted_p: float


def changes_by_group(
    problems: Sequence[Problem], column: str, before: Evaluation, after: Evaluation, key: Key
) -> list[GroupChange]:
    """Return the change of each group of at least 5 problems that the column makes, with p by Holm over the groups."""
    groups: dict[str, list[str]] = {}
    for problem in problems:
        groups.setdefault(str(problem.columns.get(column, "")), []).append(problem.id)
    old, new = before.share_correct, after.share_correct
    groups = {
        name: [problem_id for problem_id in ids if problem_id in old and problem_id in new]
        for name, ids in groups.items()
    }
    changes = [
        (
            name,
            ids,
            paired_change(
                [old[problem_id] for problem_id in ids], [new[problem_id] for problem_id in ids], key.at("group", name)
            ),
        )
        for name, ids in sorted(groups.items())
        if len(ids) >= LEAST_IN_GROUP
    ]
    adjusted = holm([change.p_value for _, _, change in changes])
    return [
        GroupChange(name, len(ids), _mean(old, ids), _mean(new, ids), change, p)
        for (name, ids, change), p in zip(changes, adjusted, strict=True)
    ]


def commonest_answer(evaluation: Evaluation) -> tuple[str, float]:
    """Return the answer that most first completions give, and their share; completions without an answer count too."""
    votes = Counter(own[0].vote for own in evaluation.attempts.values() if own[0].vote is not None)
    if not votes:
        return "", 0.0
    answer, count = votes.most_common(1)[0]
    return answer, count / len(evaluation.attempts)


def right_share(evaluation: Evaluation, answer: str) -> float:
    """Return the share of the problems whose first completion gives `answer` and is right."""
    firsts = [own[0] for own in evaluation.attempts.values()]
    return sum(first.vote == answer and is_correct(first) for first in firsts) / len(firsts)


def _mean(values: Mapping[str, float], ids: Sequence[str]) -> float:
    return sum(values[problem_id] for problem_id in ids) / len(ids)
