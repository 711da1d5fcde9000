"""Judging completions: the last integer, or any reward function with TRL's signature."""

from creditree.verify.last_integer import LastInteger, last_integer
from creditree.verify.locate import load_reward
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer, Verifier

__all__ = ["Answer", "LastInteger", "RewardFunction", "Verifier", "last_integer", "load_reward"]
