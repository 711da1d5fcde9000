"""Judging completions: numbers, texts, choices, mathematics, programs, or any reward function with TRL's signature."""

from creditree.limits import Limits
from creditree.verify.choice import Choice
from creditree.verify.exact import ExactText
from creditree.verify.isolated import IsolatedReward
from creditree.verify.last_integer import LastInteger, last_integer
from creditree.verify.locate import load_reward, reward_digest
from creditree.verify.mathematics import Mathematics
from creditree.verify.numeric import Numeric
from creditree.verify.pool import WorkerPool
from creditree.verify.program import Program
from creditree.verify.reward_function import RewardFunction
from creditree.verify.verifier import Answer, Verifier, closing

__all__ = [
    "Answer",
    "Choice",
    "ExactText",
    "IsolatedReward",
    "LastInteger",
    "Limits",
    "Mathematics",
    "Numeric",
    "Program",
    "RewardFunction",
    "Verifier",
    "WorkerPool",
    "closing",
    "last_integer",
    "load_reward",
    "reward_digest",
]
