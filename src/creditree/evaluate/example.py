"""The first prompt and completion of a measurement, as they are: what no figure says of how a model is asked."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from creditree.evaluate.prompt import prompt_ids
from creditree.problem import Problem
from creditree.runs.attempts import Attempt
from creditree.tasks.task import PromptTemplate
from creditree.text import one_line, printable, shortened

if TYPE_CHECKING:
    from creditree.models.load import Model

PROMPT, COMPLETION, ANSWER = 1600, 1200, 80
"""Characters that are shown of each."""


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt as the model gets it (decoded from its token ids, special tokens included), a completion, its verdict.

    `answer`: what the grader read in the completion, None where it found none;  `expected`: the accepted answers;
    `truncated`: it was cut off at the limit of tokens, else it ended with an end token;  `singles`: the rewards that
    the reward is a sum of, in the order of the configuration.
    """

    problem_id: str
    prompt: str
    prompt_tokens: int
    completion: str
    completion_tokens: int
    truncated: bool
    reward: float | None
    status: str
    detail: str
    answer: str | None
    expected: tuple[str, ...]
    singles: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, model: "Model", prompt: PromptTemplate, problem: Problem, attempt: Attempt) -> "Example":
        """Return the example of an attempt, which has its text."""
        ids = prompt_ids(prompt, problem, model)
        return cls(
            problem_id=problem.id,
            prompt=shortened(model.texts.exact(ids.tolist()), PROMPT),
            prompt_tokens=len(ids),
            completion=shortened(attempt.text, COMPLETION),
            completion_tokens=attempt.num_tokens,
            truncated=attempt.truncated,
            reward=attempt.reward,
            status=attempt.status,
            detail=attempt.detail,
            answer=attempt.vote,
            expected=problem.answers,
            singles=attempt.singles,
        )

    @classmethod
    def first(cls, model: "Model", prompt: PromptTemplate, problem: Problem, attempts: Iterable[Attempt]) -> "Example":
        """Return the example of the first attempt at a problem, among others."""
        return cls.of(model, prompt, problem, next(attempt for attempt in attempts if attempt.problem_id == problem.id))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Example":
        """Return the example of a JSON form."""
        return cls(**{**values, "expected": tuple(values["expected"]), "singles": tuple(values.get("singles", ()))})

    @property
    def verdict(self) -> str:
        """One line: what the completion was worth, what was read in it, and why it ended."""
        worth = f"no reward ({one_line(self.detail)})" if self.reward is None else f"reward {self.reward:g}"
        if self.singles:
            worth += f", of {', '.join('none' if single is None else f'{single:g}' for single in self.singles)}"
        answer = "no answer found" if self.answer is None else f"answer found {_quoted(self.answer)}"
        expected = " or ".join(map(_quoted, self.expected[:3]))
        end = "cut off at the limit" if self.truncated else "ended by itself"
        return f"{worth}; {answer}, expected {expected}; {self.completion_tokens:,} tokens, {end}"

    def __str__(self) -> str:
        """Return what a terminal shows: nothing in it can steer one."""
        return "\n".join(
            [
                f"the first prompt, as the model gets it ({self.prompt_tokens:,} tokens):",
                _barred(self.prompt),
                f"its completion ({self.verdict}):",
                _barred(self.completion),
            ]
        )


def _quoted(answer: str) -> str:
    return f"'{one_line(answer, ANSWER)}'"


def _barred(text: str) -> str:
    return "\n".join(f"  | {line}" for line in printable(text).split("\n"))
