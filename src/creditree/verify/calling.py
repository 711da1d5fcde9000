"""Calling a function with TRL's reward signature, ``f(prompts, completions, **columns) -> list[float]``.

The process that does nothing else imports this, and none of what is needed to read what it says.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from itertools import islice
from math import isfinite

from creditree.errors import ConfigError, did_you_mean
from creditree.text import shown
from creditree.user_code import described, load

RewardCallable = Callable[..., object]
Offered = dict[str, list[object]]
LARGEST_REWARD = 1e30
"""Sums of squares of larger rewards leave the range of float64, and their losses that of float32."""
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def find_function(location: str) -> RewardCallable:
    """Return the function itself, imported into this process. Raises ConfigError as `load_reward` does."""
    function = load(location, "reward", "function")
    if not callable(function):
        raise ConfigError(
            f"The reward '{location}' is a {type(function).__name__}, not a function: name a callable "
            "f(prompts, completions, **columns)."
        )
    if not _takes_completions(function):
        raise ConfigError(
            f"The reward '{location}' is no reward function, since it does not take 'completions': name a callable "
            "f(prompts, completions, **columns)."
        )
    return function


def name_of(function: RewardCallable) -> str:
    """Return a function's name, or that of its type."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def call(function: RewardCallable, arguments: Offered, expected: int) -> list[float | str]:
    """Return for each completion its reward, a finite number, or the reason in words why it has none."""
    try:
        returned = function(**_named(function, arguments))
        if inspect.isawaitable(returned):
            import asyncio  # few functions are coroutines

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


def _takes_completions(function: RewardCallable) -> bool:
    """Return whether a callable can be asked to judge completions: what cannot must not be called by a name in a file.

    It takes ``completions`` or any keyword. Built-in functions that do not say what they take are none.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    named = parameters.get("completions")
    if named is not None and named.kind in (named.POSITIONAL_OR_KEYWORD, named.KEYWORD_ONLY):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


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
