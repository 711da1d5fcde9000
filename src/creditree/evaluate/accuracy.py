"""What was measured: the judged completions of every problem, and the shares that are correct."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum

from creditree.errors import DataError
from creditree.problem import Status
from creditree.rewards.singles import SingleReward, singles_of
from creditree.runs.attempts import Attempt

MOST_UNJUDGED = 0.05
"""Share of completions without a reward above which nothing is concluded: were they all right, or all wrong, accuracy
would move by as much as the effects that are looked for."""


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """The judged completions of every problem, by problem id, each problem's in the order of their index."""

    attempts: Mapping[str, tuple[Attempt, ...]]

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> "Evaluation":
        """Return the evaluation of attempts in any order; problems stay in the order of their first one."""
        by_problem: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            by_problem.setdefault(attempt.problem_id, []).append(attempt)
        return cls({name: tuple(sorted(own, key=lambda attempt: attempt.index)) for name, own in by_problem.items()})

    def only(self, names: Iterable[str]) -> "Evaluation":
        """Return the same of some problems, by their ids."""
        return Evaluation({name: self.attempts[name] for name in names})

    @property
    def all(self) -> Iterator[Attempt]:
        """Every completion."""
        return chain.from_iterable(self.attempts.values())

    @property
    def rewards(self) -> dict[str, tuple[float | None, ...]]:
        """Rewards of every problem's completions, None where the verifier failed."""
        return {name: tuple(attempt.reward for attempt in own) for name, own in self.attempts.items()}

    @property
    def statuses(self) -> dict[Status, int]:
        """How many completions were judged how."""
        return dict(Counter(attempt.status for attempt in self.all))

    @property
    def num_tokens(self) -> int:
        """Tokens of all completions."""
        return sum(attempt.num_tokens for attempt in self.all)

    @property
    def num_truncated(self) -> int:
        """Completions that were cut off at the limit of tokens."""
        return sum(attempt.truncated for attempt in self.all)

    @property
    def num_correct(self) -> int:
        """Completions that are correct."""
        return sum(is_correct(attempt) for attempt in self.all)

    @property
    def first_failure(self) -> str:
        """What the verifier said of the first completion that it gave no reward."""
        return next((attempt.detail for attempt in self.all if attempt.reward is None), "")

    @property
    def num_completions(self) -> int:
        """Completions judged."""
        return sum(map(len, self.attempts.values()))

    @property
    def num_unjudged(self) -> int:
        """Completions neither correct nor wrong: a judge that fails says nothing of them, and no figure counts them."""
        return sum(attempt.is_correct is None for attempt in self.all)

    @property
    def is_inconclusive(self) -> bool:
        """Whether so many completions were not judged that nothing is concluded."""
        return self.why_inconclusive is not None

    @property
    def why_inconclusive(self) -> str | None:
        """In words, why nothing is concluded; None where something is."""
        return inconclusive(self.num_unjudged, self.num_completions, self.first_failure)

    @property
    def judged(self) -> dict[str, tuple[Attempt, ...]]:
        """The completions of every problem that were judged; problems without one are left out."""
        kept = {
            name: tuple(attempt for attempt in own if attempt.is_correct is not None)
            for name, own in self.attempts.items()
        }
        return {name: own for name, own in kept.items() if own}

    @property
    def mean_reward(self) -> float | None:
        """The mean over problems of the mean reward of their completions that have one; None where none has."""
        by_problem = ([reward for reward in own if reward is not None] for own in self.rewards.values())
        means = [_mean(rewards) for rewards in by_problem if rewards]
        return _mean(means) if means else None

    def single_rewards(self, names: Sequence[str]) -> dict[str, SingleReward]:
        """Return mean and failures of each single reward that the rewards are a sum of, over all completions."""
        return singles_of(names, [attempt.singles for attempt in self.all])

    @property
    def correct(self) -> dict[str, int | None]:
        """1 for each problem whose first completion is correct, 0 where it is not, None where it was not judged."""
        firsts = {name: own[0].is_correct for name, own in self.attempts.items()}
        return {name: None if right is None else int(right) for name, right in firsts.items()}

    @property
    def share_correct(self) -> dict[str, float]:
        """The share of each problem's judged completions that are correct; a problem without one is left out."""
        return {name: sum(map(is_correct, own)) / len(own) for name, own in self.judged.items()}

    @property
    def accuracy(self) -> float | None:
        """Pass@1: the mean over problems of the share of correct completions; None where none was judged."""
        shares = self.share_correct.values()
        return sum(shares) / len(shares) if shares else None


def is_correct(attempt: Attempt) -> bool:
    """Return whether a completion is known to be correct."""
    return attempt.is_correct is True


def check_judged(evaluations: Mapping[str, Evaluation], cure: str) -> None:
    """Raise DataError, which ends with the cure, for the first of some measurements that is inconclusive."""
    for name, evaluation in evaluations.items():
        if (words := evaluation.why_inconclusive) is not None:
            raise DataError(f"{name}: {words}; {cure}")


def inconclusive(num_unjudged: int, num_completions: int, first_failure: str) -> str | None:
    """Return in words that too many completions got no reward for anything to be concluded; None where few did."""
    if num_unjudged <= MOST_UNJUDGED * num_completions:
        return None
    return (
        f"{num_unjudged} of {num_completions} completions got no reward ({first_failure}), more than "
        f"{MOST_UNJUDGED:.0%}, so nothing is concluded"
    )


def _mean(values: Sequence[float]) -> float:
    try:
        return fsum(values) / len(values)
    except OverflowError:  # rewards so large that their sum is no float
        return fsum(value / len(values) for value in values)
