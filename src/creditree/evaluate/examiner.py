"""Measure a model on held-out problems: one or more completions a problem, under common random numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from creditree.engines.engine import Engine, SampleRequest, Sampling
from creditree.engines.pulse import Told
from creditree.errors import ConfigError
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.pieces import rows_at_once
from creditree.evaluate.prompt import prompt_ids
from creditree.models.load import Model
from creditree.problem import Problem
from creditree.rng import Key
from creditree.runs.attempts import Attempt
from creditree.tasks.task import PromptTemplate
from creditree.verify.verifier import Answer, Verifier
from creditree.verify.vote import votes


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
