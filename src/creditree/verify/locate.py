"""Finding a reward function by the name that a configuration gives it."""

from creditree.user_code import digest_of as reward_digest
from creditree.user_code import file_of as reward_file
from creditree.user_code import parts_of
from creditree.verify.calling import find_function
from creditree.verify.isolated import DEADLINE_S, IsolatedReward

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
