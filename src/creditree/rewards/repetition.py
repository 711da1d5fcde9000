"""A penalty for repeating oneself (Yeo et al., arXiv 2502.03373, appendix C.2)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.piece import number
from creditree.rewards.base import Reward
from creditree.verify.verifier import Answer


@dataclass(frozen=True)
class Repetition(Reward):
    """R = -penalty (1 - d / n), with d different ones among the n runs of `ngram` words of a completion.

    0 where no run comes twice, and for a completion of fewer words. Words are what white space parts, capitals aside.
    The authors' code adds it to wrong completions only; here it is a reward of its own, for all.
    """

    ngram: int = number(40, "words of a run", least=1)
    penalty: float = number(1.0, "taken off where everything is the same run", above=0)
    name: ClassVar[str] = "repetition"
    paper: ClassVar[str] = "arXiv 2502.03373"

    def of(self, answer: Answer, right: bool | None) -> float:
        """Return the penalty, 0 or below."""
        words = answer.completion.lower().split()
        runs = [tuple(words[start : start + self.ngram]) for start in range(len(words) - self.ngram + 1)]
        return self.penalty * (len(set(runs)) / len(runs) - 1.0) if runs else 0.0
