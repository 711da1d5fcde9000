"""A reward by length that is another for right and for wrong completions (Yeo et al., arXiv 2502.03373)."""

from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar

from creditree.piece import number
from creditree.rewards.base import Reward
from creditree.verify.verifier import Answer


@dataclass(frozen=True)
class CosineLength(Reward):
    """R = r_L + (r_0 - r_L) (1 + cos(pi l / L)) / 2 for l of at most L tokens: from r_0 at no token to r_L at L.

    (r_0, r_L) are another pair for right and for wrong completions, so that a right one is better short and a wrong one
    better long; a completion of L tokens was cut off, and gets `exceeded`. L is the longest completion of the run. The
    defaults are those of the paper's experiments, as far as we know them. They hold the reward for being right already:
    the task's reward beside it has the weight 0, or a weight of its own.
    """

    right_short: float = number(2.0, "r_0 of a right completion")
    right_long: float = number(1.0, "r_L of a right completion")
    wrong_short: float = number(-10.0, "r_0 of a wrong completion")
    wrong_long: float = number(0.0, "r_L of a wrong completion")
    exceeded: float = number(-10.0, "reward of a completion that was cut off")
    name: ClassVar[str] = "cosine_length"
    paper: ClassVar[str] = "arXiv 2502.03373"

    def of(self, answer: Answer, right: bool | None) -> float | None:
        """Return the reward by length; None where the length, or whether it is right, is not known."""
        if answer.num_tokens is None or answer.max_tokens is None or right is None:
            return None
        if answer.num_tokens >= answer.max_tokens:
            return self.exceeded
        first, last = (self.right_short, self.right_long) if right else (self.wrong_short, self.wrong_long)
        return last + (first - last) * (1.0 + cos(pi * answer.num_tokens / answer.max_tokens)) / 2.0
