"""Measure a model on held-out problems: one or more completions a problem, under common random numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import fsum

from creditree.engines.engine import Engine, SampleRequest, Sampling
from creditree.engines.pulse import Told
from creditree.errors import ConfigError, DataError
from creditree.evaluate.pieces import rows_at_once
from creditree.evaluate.prompt import prompt_ids
from creditree.models.load import Model
from creditree.problem import Problem, Status
from creditree.rewards.singles import SingleReward, singles_of
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier
from creditree.verify.vote import votes

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
        return self.num_unjudged > MOST_UNJUDGED * self.num_completions

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
        if evaluation.is_inconclusive:
            raise DataError(
                f"{name}: {evaluation.num_unjudged} of {evaluation.num_completions} completions got no reward "
                f"({evaluation.first_failure}), more than {MOST_UNJUDGED:.0%}, so nothing is concluded; {cure}"
            )


@dataclass(frozen=True, eq=False, slots=True)
class Examiner:
    """Holds what an evaluation needs besides the problems and the decoding.

    The random numbers of a problem's k-th completion depend on `key`, the problem and k alone, so two models are
    compared under common random numbers, whatever else is evaluated with them. The problem is known by its id, or
    `by_digest`, where one id may stand for different questions at different times.
    """

    model: Model
    engine: Engine
    verifier: Verifier
    prompt: PromptTemplate
    max_new_tokens: int
    key: Key
    by_digest: bool = False

    def check(self, problems: Sequence[Problem], *, fixed_length: bool = False) -> None:
        """Raise ConfigError, before anything is sampled, for a problem that does not fit the model's context.

        `fixed_length`: shorter completions are no cure, since the caller cannot change their length.
        """
        limit = self.model.network.max_positions
        for problem in problems:
            length = len(prompt_ids(self.prompt, problem, self.model))
            if length + self.max_new_tokens > limit:
                raise ConfigError(
                    f"a prompt of {length} tokens (problem '{problem.id}') and {self.max_new_tokens} new ones exceed "
                    f"the context of {limit} tokens of model '{self.model.name}'; "
                    + (
                        "leave the problem out."
                        if fixed_length
                        else f"set `max_new_tokens` to {limit - length} or less."
                    )
                    if length < limit
                    else f"the prompt of problem '{problem.id}' has {length} tokens, and the context of model "
                    f"'{self.model.name}' only {limit}; leave the problem out, or use another model."
                )

    def evaluate(
        self, problems: Sequence[Problem], sampling: Sampling, samples: int = 1, told: Told | None = None
    ) -> Evaluation:
        """Sample and judge `samples` completions of each problem; texts are not kept."""
        parts = (self.examine(piece, sampling, samples, told) for piece in self.pieces(problems, samples))
        return Evaluation.of(replace(attempt, text="") for part in parts for attempt in part)

    def pieces(self, problems: Sequence[Problem], samples: int) -> list[Sequence[Problem]]:
        """Return the problems in pieces that take about half a minute each, of one problem at least.

        They are sized by model, length and machine, not by a clock: a measurement that is made again, or goes on after
        a stop, has the same pieces. No more completions are in one than the engine decodes together.
        """
        rows = min(self.engine.max_rows, self.engine.num_workers * rows_at_once(self.model, self.max_new_tokens))
        size = max(1, rows // samples)
        return [problems[start : start + size] for start in range(0, len(problems), size)]

    def examine(
        self, problems: Sequence[Problem], sampling: Sampling, samples: int, told: Told | None = None
    ) -> list[Attempt]:
        """Sample and judge one piece. What the engine stored of it is dropped, so that memory does not grow."""
        self.engine.forget()
        requests = [
            SampleRequest(
                prompt_ids(self.prompt, problem, self.model),
                tuple(self.key.at("evaluate", self._name(problem), index) for index in range(samples)),
                self.max_new_tokens,
            )
            for problem in problems
        ]
        sampled, _ = self.engine.sample(requests, sampling, told)
        self.engine.forget()
        answers = [
            Answer(
                problem,
                self.prompt.render(problem),
                self.model.text(sample.token_ids),
                len(sample.token_ids),
                self.max_new_tokens,
                tuple(map(int, sample.token_ids)),
            )
            for problem, drawn in zip(problems, sampled, strict=True)
            for sample in drawn
        ]
        verdicts = self.verifier.judge(answers)
        drawn = [(index, sample) for own in sampled for index, sample in enumerate(own)]
        return [
            Attempt(
                answer.problem.id,
                index,
                verdict.reward,
                verdict.status,
                vote,
                len(sample.token_ids),
                sample.finish_reason == "length",
                verdict.detail,
                answer.completion,
                verdict.singles,
            )
            for answer, (index, sample), verdict, vote in zip(
                answers, drawn, verdicts, votes(self.verifier, answers, verdicts), strict=True
            )
        ]

    def judge_again(self, problems: Mapping[str, Problem], attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return completions of `problems`, by id, as they are judged now; nothing is sampled."""
        pairs = [(problems[attempt.problem_id], attempt) for attempt in attempts]
        answers = [
            Answer(problem, self.prompt.render(problem), attempt.text, attempt.num_tokens, self.max_new_tokens)
            for problem, attempt in pairs
        ]
        verdicts = self.verifier.judge(answers)
        return [
            replace(
                attempt,
                reward=verdict.reward,
                status=verdict.status,
                detail=verdict.detail,
                vote=vote,
                singles=verdict.singles,
            )
            for attempt, verdict, vote in zip(attempts, verdicts, votes(self.verifier, answers, verdicts), strict=True)
        ]

    def _name(self, problem: Problem) -> str:
        return problem.digest if self.by_digest else problem.id


def _mean(values: Sequence[float]) -> float:
    try:
        return fsum(values) / len(values)
    except OverflowError:  # rewards so large that their sum is no float
        return fsum(value / len(values) for value in values)
