"""Measure a model on held-out problems: one or more completions a problem, under common random numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from creditree.engines.engine import Engine, SampleRequest, Sampling
from creditree.evaluate.prompt import prompt_ids
from creditree.models.load import Model
from creditree.problem import Problem, Status
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier

CORRECT = 1.0
"""A completion is correct if its reward reaches this."""


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """Rewards of every problem's completions, by problem id (None where the verifier failed), and how they ended."""

    rewards: dict[str, tuple[float | None, ...]]
    statuses: dict[Status, int]
    num_tokens: int
    num_truncated: int
    first_failure: str = ""
    """What the verifier said of the first completion that it gave no reward."""

    @property
    def num_completions(self) -> int:
        """Completions judged."""
        return sum(len(rewards) for rewards in self.rewards.values())

    @property
    def num_unjudged(self) -> int:
        """Completions without a reward; they count as wrong."""
        return sum(reward is None for rewards in self.rewards.values() for reward in rewards)

    @property
    def mean_reward(self) -> float:
        """The mean over problems of the mean reward of their completions; one without a reward counts as 0."""
        means = [sum(reward or 0.0 for reward in rewards) / len(rewards) for rewards in self.rewards.values()]
        return sum(means) / len(means)

    @property
    def correct(self) -> dict[str, int]:
        """1 for each problem whose first completion is correct, else 0."""
        return {name: int((rewards[0] or 0.0) >= CORRECT) for name, rewards in self.rewards.items()}

    @property
    def share_correct(self) -> dict[str, float]:
        """The share of each problem's completions that are correct."""
        return {n: sum((r or 0.0) >= CORRECT for r in rewards) / len(rewards) for n, rewards in self.rewards.items()}

    @property
    def accuracy(self) -> float:
        """Pass@1: the mean over problems of the share of correct completions."""
        shares = self.share_correct.values()
        return sum(shares) / len(shares)


@dataclass(frozen=True, eq=False, slots=True)
class Examiner:
    """Holds what an evaluation needs besides the problems and the decoding.

    The random numbers of a problem's k-th completion depend on `key`, the problem and k alone, so two models are
    compared under common random numbers, whatever else is evaluated with them.
    """

    model: Model
    engine: Engine
    verifier: Verifier
    prompt: PromptTemplate
    max_new_tokens: int
    key: Key

    def evaluate(self, problems: Sequence[Problem], sampling: Sampling, samples: int = 1) -> Evaluation:
        """Sample and judge `samples` completions of each problem.

        Problems go through the engine in pieces of as many completions as it decodes together, and what it stored of a
        piece is dropped, so that memory does not grow with the number of problems.
        """
        piece = max(1, self.engine.max_rows // samples)
        parts = [
            self._piece(problems[start : start + piece], sampling, samples) for start in range(0, len(problems), piece)
        ]
        statuses: Counter[Status] = Counter()
        for part in parts:
            statuses.update(part.statuses)
        return Evaluation(
            rewards={name: rewards for part in parts for name, rewards in part.rewards.items()},
            statuses=dict(statuses),
            num_tokens=sum(part.num_tokens for part in parts),
            num_truncated=sum(part.num_truncated for part in parts),
            first_failure=next((part.first_failure for part in parts if part.first_failure), ""),
        )

    def _piece(self, problems: Sequence[Problem], sampling: Sampling, samples: int) -> Evaluation:
        self.engine.forget()
        requests = [
            SampleRequest(
                prompt_ids(self.prompt, problem, self.model),
                tuple(self.key.at("evaluate", problem.id, index) for index in range(samples)),
                self.max_new_tokens,
            )
            for problem in problems
        ]
        found, _ = self.engine.sample(requests, sampling)
        self.engine.forget()
        answers = [
            Answer(problem, self.prompt.render(problem), self.model.text(sample.token_ids))
            for problem, drawn in zip(problems, found, strict=True)
            for sample in drawn
        ]
        judgements = self.verifier.judge(answers)
        verdicts = iter(judgements)
        rewards: dict[str, tuple[float | None, ...]] = {}
        statuses: dict[Status, int] = {}
        for problem in problems:
            judged = [next(verdicts) for _ in range(samples)]
            rewards[problem.id] = tuple(verdict.reward for verdict in judged)
            for verdict in judged:
                statuses[verdict.status] = statuses.get(verdict.status, 0) + 1
        flat = [sample for drawn in found for sample in drawn]
        return Evaluation(
            rewards=rewards,
            statuses=statuses,
            num_tokens=sum(len(sample.token_ids) for sample in flat),
            num_truncated=sum(sample.finish_reason == "length" for sample in flat),
            first_failure=next((verdict.detail for verdict in judgements if verdict.reward is None), ""),
        )
