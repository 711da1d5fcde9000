"""Rewards beside the task's own: ready ones, each a file, and several as one sum."""

from creditree.piece import ours
from creditree.rewards.base import Reward
from creditree.rewards.combined import Combine, Combined, Single
from creditree.rewards.singles import SingleReward, singles_of

READY = ours("rewards", Reward)  # type: ignore[type-abstract]
"""The ready rewards by the names used in configurations."""

__all__ = ["READY", "Combine", "Combined", "Reward", "Single", "SingleReward", "singles_of"]
