"""A callable with TRL's reward signature as a verifier: ``f(prompts, completions, **columns) -> list[float]``."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from math import isfinite

from creditree.errors import did_you_mean
from creditree.problem import Verdict
from creditree.verify.final_answer import final_answer
from creditree.verify.verifier import Answer, Verifier

RewardCallable = Callable[..., object]


@dataclass(frozen=True, slots=True)
class RewardFunction(Verifier):
    """Calls `function` once for a batch, with keyword arguments only, each a list with one entry an answer.

    The arguments are ``prompts`` and ``completions`` (texts), ``answers`` (lists of accepted texts), ``question``,
    ``id``, and every column of the problems' rows; a function without ``**kwargs`` gets those that it names. It
    returns one finite number an answer. Anything else (NaN, infinity, None, a text, a wrong length, an exception)
    gives verdicts ``crash`` without a reward, which name the row and are never trained on.
    What the function reads is not known, so a completion votes for its final answer, as `final_answer` finds it.
    """

    function: RewardCallable

    @property
    def name(self) -> str:
        """Return the function's name, as messages show it."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        if not answers:
            return ()
        try:
            returned = self.function(**self._arguments(answers))
            rewards = _listed(returned, len(answers))
        except Exception as error:
            return self._all_crashed(answers, f"raised {type(error).__name__}: {' '.join(str(error).split())}")
        if rewards is None:
            return self._all_crashed(answers, f"returned {_shown(returned)} instead of a list of numbers")
        if len(rewards) != len(answers):
            count = f"more than {len(answers)}" if len(rewards) > len(answers) else str(len(rewards))
            return self._all_crashed(answers, f"returned {count} rewards for {len(answers)} completions")
        return tuple(
            self._verdict(row, answer, reward)
            for row, (answer, reward) in enumerate(zip(answers, rewards, strict=True), 1)
        )

    def _arguments(self, answers: Sequence[Answer]) -> dict[str, list[object]]:
        columns = dict.fromkeys(name for answer in answers for name in answer.problem.columns)
        offered: dict[str, list[object]] = {
            **{name: [answer.problem.columns.get(name) for answer in answers] for name in columns},
            "question": [answer.problem.question for answer in answers],
            "id": [answer.problem.id for answer in answers],
            "answers": [list(answer.problem.answers) for answer in answers],
            "prompts": [answer.prompt for answer in answers],
            "completions": [answer.completion for answer in answers],
        }
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):
            return offered
        for name, parameter in parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and parameter.default is parameter.empty and name not in offered:
                raise TypeError(f"it needs the column '{name}', which no problem has.{did_you_mean(name, offered)}")
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return offered
        return {name: values for name, values in offered.items() if name in parameters}

    def _verdict(self, row: int, answer: Answer, reward: object) -> Verdict:
        number = _number(reward)
        if number is not None and isfinite(number):
            return Verdict(number, answer=final_answer(answer.completion))
        detail = (
            f"row {row} of {self.name} (problem {answer.problem.id}): returned {_shown(reward)}, not a finite number."
        )
        return Verdict(None, "crash", detail)

    def _all_crashed(self, answers: Sequence[Answer], reason: str) -> tuple[Verdict, ...]:
        return tuple(
            Verdict(None, "crash", f"row {row} of {self.name} (problem {answer.problem.id}): the function {reason}.")
            for row, answer in enumerate(answers, 1)
        )


def _listed(returned: object, expected: int) -> list[object] | None:
    """Return the items of an ordered collection, at most one more than expected, or None if it is none."""
    if isinstance(returned, str | bytes | Mapping | Set) or not isinstance(returned, Iterable):
        return None
    return list(islice(returned, expected + 1))


def _number(reward: object) -> float | None:
    if reward is None or isinstance(reward, str | bytes | bytearray):
        return None
    try:
        return float(reward)  # type: ignore[arg-type]
    except Exception:
        return None


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
