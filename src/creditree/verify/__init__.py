"""Judging completions: numbers, texts, choices, mathematics, programs, or any reward function with TRL's signature.

What a name needs is imported when it is used: a process that judges imports its own part alone, and starts sooner.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditree.limits import Limits
    from creditree.verify.choice import Choice
    from creditree.verify.exact import ExactText
    from creditree.verify.isolated import IsolatedReward
    from creditree.verify.last_integer import LastInteger
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
    "load_reward",
    "reward_digest",
]

WHERE = {
    **dict.fromkeys(("Answer", "Verifier", "closing"), "verify.verifier"),
    **dict.fromkeys(("load_reward", "reward_digest"), "verify.locate"),
    "Choice": "verify.choice",
    "ExactText": "verify.exact",
    "IsolatedReward": "verify.isolated",
    "LastInteger": "verify.last_integer",
    "Limits": "limits",
    "Mathematics": "verify.mathematics",
    "Numeric": "verify.numeric",
    "Program": "verify.program",
    "RewardFunction": "verify.reward_function",
    "WorkerPool": "verify.pool",
}
"""The module that each name is from."""


def __getattr__(name: str) -> Any:
    """Return what is imported when it is used (PEP 562)."""
    if name in WHERE:
        return getattr(import_module(f"creditree.{WHERE[name]}"), name)
    raise AttributeError(f"module 'creditree.verify' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
