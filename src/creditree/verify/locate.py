"""Finding a reward function by the name that a configuration gives it."""

import inspect

from creditree.errors import ConfigError
from creditree.user_code import digest_of as reward_digest
from creditree.user_code import file_of as reward_file
from creditree.user_code import load, parts_of
from creditree.verify.isolated import DEADLINE_S, IsolatedReward
from creditree.verify.reward_function import RewardCallable

__all__ = ["find_function", "load_reward", "reward_digest", "reward_file"]


def load_reward(location: str, deadline_s: float = DEADLINE_S, memory_bytes: int | None = None) -> IsolatedReward:
    """Return the reward function at ``package.module:function`` or ``path/to/file.py:function``, in its own process.

    Raises ConfigError, with the reason, if there is no such module or function, if importing it fails or takes longer
    than `deadline_s`, or if what it names cannot be a reward function. Close it with `verify.closing`.
    """
    parts_of(location, "reward", "function")
    reward = IsolatedReward(location, deadline_s, memory_bytes)
    reward.start()
    return reward


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
