"""A callable with TRL's reward signature as a verifier: ``f(prompts, completions, **columns) -> list[float]``."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from math import isfinite

from creditree.errors import did_you_mean
from creditree.problem import Status, Verdict
from creditree.text import shown
from creditree.user_code import described
from creditree.verify.prose import final_answer
from creditree.verify.verifier import Answer, Rules, Verifier

RewardCallable = Callable[..., object]
Offered = dict[str, list[object]]
LARGEST_REWARD = 1e30
"""Sums of squares of larger rewards leave the range of float64, and their losses that of float32."""
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


@dataclass(frozen=True, slots=True)
class RewardFunction(Verifier):
    """Calls `function` in this process, once for a batch, with keyword arguments, each a list with one entry an answer.

    The arguments are ``prompts`` and ``completions`` (texts), ``answers`` (lists of accepted texts), ``question``,
    ``id``, ``num_tokens`` and ``completion_ids`` (where completions were just written), and every column of the
    problems' rows; a function without ``**kwargs`` gets those that it names. It returns, or its coroutine does, one
    finite number an answer, of the size 1e30 at most. Anything else (NaN, infinity, None, a text, a wrong length,
    whatever it raises but KeyboardInterrupt) gives verdicts ``crash`` without a reward, which name the row and are
    never trained on. What the function reads is not known, so a completion votes for its final answer, as
    `final_answer` finds it.

    This is for a function that lives in the calling program. It has no deadline, and one that ends its process ends the
    program: `load_reward` gives a function of a file or module a process of its own.
    """

    function: RewardCallable

    @property
    def name(self) -> str:
        """Return the function's name, as messages show it."""
        return name_of(self.function)

    def rules(self) -> Rules:
        """Return its rules."""
        return rules_of(self.name)

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        if not answers:
            return ()
        return verdicts(self.name, answers, call(self.function, offered(answers), len(answers)))


def rules_of(name: str) -> Rules:
    """Return the rules of a reward function, as far as they are known."""
    return {"grader": name, "correct": "a reward of at least 1", "vote": "the final answer, as math finds it"}


def name_of(function: RewardCallable) -> str:
    """Return a function's name, or that of its type."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def offered(answers: Sequence[Answer]) -> Offered:
    """Return all that a reward function may be called with."""
    columns = dict.fromkeys(name for answer in answers for name in answer.problem.columns)
    lengths: list[object] = [answer.num_tokens for answer in answers]
    tokens: list[object] = [None if answer.token_ids is None else list(answer.token_ids) for answer in answers]
    return {
        **{name: [answer.problem.columns.get(name) for answer in answers] for name in columns},
        **({} if None in lengths else {"num_tokens": lengths}),
        **({} if None in tokens else {"completion_ids": tokens}),
        "question": [answer.problem.question for answer in answers],
        "id": [answer.problem.id for answer in answers],
        "answers": [list(answer.problem.answers) for answer in answers],
        "prompts": [answer.prompt for answer in answers],
        "completions": [answer.completion for answer in answers],
    }


def call(function: RewardCallable, arguments: Offered, expected: int) -> list[float | str]:
    """Return for each completion its reward, a finite number, or the reason in words why it has none."""
    try:
        returned = function(**_named(function, arguments))
        if inspect.isawaitable(returned):
            returned = asyncio.run(_awaited(returned))
        rewards = _listed(returned, expected)
        if rewards is None:
            reason = f"returned {_shown(returned)} instead of a list of numbers"
        elif len(rewards) != expected:
            count = f"more than {expected}" if len(rewards) > expected else str(len(rewards))
            reason = f"returned {count} rewards for {expected} completions"
        else:
            return [_reward(reward) for reward in rewards]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and GeneratorExit too: it is the function's mistake, not the run's end
        reason = f"raised {described(error)}"
    return [f"the function {reason}"] * expected


def verdicts(
    name: str, answers: Sequence[Answer], outcomes: Sequence[float | str], status: Status = "crash"
) -> tuple[Verdict, ...]:
    """Return the verdicts for what was returned; a reason in place of a number gives one with `status`, no reward."""
    return tuple(
        Verdict(None, status, f"row {row} of {name} (problem {answer.problem.id}): {outcome}.")
        if isinstance(outcome, str)
        else Verdict(outcome, answer=final_answer(answer.completion))
        for row, (answer, outcome) in enumerate(zip(answers, outcomes, strict=True), 1)
    )


def _named(function: RewardCallable, arguments: Offered) -> Offered:
    """Return those of the arguments that a function takes. Raises TypeError for one that no problem has."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return arguments
    for name, parameter in parameters.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and name not in arguments:
            raise TypeError(f"it needs the column '{name}', which no problem has.{did_you_mean(name, arguments)}")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {name: values for name, values in arguments.items() if name in parameters}


async def _awaited(returned: Awaitable[object]) -> object:
    return await returned


def _listed(returned: object, expected: int) -> list[object] | None:
    """Return the items of an ordered collection, at most one more than expected, or None if it is none."""
    if isinstance(returned, str | bytes | Mapping | Set) or not isinstance(returned, Iterable):
        return None
    return list(islice(returned, expected + 1))


def _reward(returned: object) -> float | str:
    number = _number(returned)
    if number is None or not isfinite(number):
        return f"returned {_shown(returned)}, not a finite number"
    if abs(number) > LARGEST_REWARD:
        return f"returned {_shown(returned)}, and rewards have at most the size {LARGEST_REWARD:g}"
    return number


def _number(reward: object) -> float | None:
    if reward is None or isinstance(reward, str | bytes | bytearray):
        return None
    try:
        return float(reward)  # type: ignore[arg-type]
    except Exception:
        return None


def _shown(value: object) -> str:
    """Return a value as a message shows it: by its type where it is known by its address only, or cannot be shown."""
    text = shown(value, 80)
    return f"a {type(value).__name__}" if ADDRESS.search(text) else text
