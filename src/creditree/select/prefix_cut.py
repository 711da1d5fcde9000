"""A random first part of each completion: the random prefix cutting of NAT (arXiv 2603.06619)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.piece import number
from creditree.rng import Key
from creditree.select.base import Completion
from creditree.select.drawn import Drawn
from creditree.tree import FloatArray


@dataclass(frozen=True)
class PrefixCut(Drawn):
    """The first c tokens of a completion of L learn, c uniform over m, ..., L with m = min(`min_cut`, L).

    Token t (from 0) is kept where c > t, so p_t = 1 for t < m and (L - t) / (L - m + 1) for the others; its weight is
    w_t / p_t, w_t that of `everything`. Unbiased for the full-token mean, with half the tokens for m = 1, and what lies
    after the cut is never forwarded. Late tokens are rare and heavy: the last is kept once in L - m + 1 times. That c
    is uniform, and m, are ours. m >= L is `everything`, to the bit.
    """

    min_cut: int = number(1, "at least this many first tokens learn", least=1)
    name: ClassVar[str] = "prefix_cut"
    paper: ClassVar[str] = "arXiv 2603.06619"

    def survival(self, length: int) -> FloatArray:
        """Return P(c > t) [L] for t = 0, ..., L - 1."""
        kept = min(self.min_cut, length)
        return np.minimum(1.0, (length - np.arange(length)) / (length - kept + 1))

    def inclusion(self, completion: Completion) -> FloatArray:
        """Return p [L] of a completion."""
        return self.survival(completion.learning)

    def uniforms(self, length: int, key: Key) -> FloatArray:
        """Return one number for all tokens: p_t never rises, so those below which it lies are the first ones."""
        return np.full(length, key.uniforms(1)[0])
