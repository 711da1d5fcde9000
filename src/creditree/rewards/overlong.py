"""A penalty that grows near the limit of tokens (DAPO's soft overlong punishment, arXiv 2503.14476, equation 13)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.piece import number
from creditree.rewards.base import Reward
from creditree.verify.verifier import Answer


@dataclass(frozen=True)
class Overlong(Reward):
    """R = 0 for l <= L - C;  (L - C - l) / C for L - C < l <= L;  -1 for l > L.

    l are the tokens of a completion, L the longest completion of the run, C = `cache` L: the paper's 4,096 of 20,480.
    A completion that was cut off at L gets -1.
    """

    cache: float = number(0.2, "share of the longest completion over which the penalty grows to 1", above=0, most=1)
    name: ClassVar[str] = "overlong"
    paper: ClassVar[str] = "arXiv 2503.14476"

    def of(self, answer: Answer, right: bool | None) -> float | None:
        """Return the penalty, from -1 to 0; None where the length is not known."""
        if answer.num_tokens is None or answer.max_tokens is None:
            return None
        left = (answer.max_tokens - answer.num_tokens) / (self.cache * answer.max_tokens)
        return max(-1.0, min(0.0, left - 1.0))
