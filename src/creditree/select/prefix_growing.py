"""A first part of each completion learns, and grows as training goes on (PPPO, arXiv 2512.15274)."""

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Self

import numpy as np

from creditree.demand import Learned, Reach
from creditree.piece import fitted, number
from creditree.select.base import ByCompletion, Completion
from creditree.tree import FloatArray


@dataclass(frozen=True)
class PrefixGrowing(ByCompletion):
    """The first n_i = ceil(b L) of the L tokens of completion i that can learn do, each with weight 1 / (G n_i).

    The share b grows linearly from `share_first` at the first step to `share_last` at the last one: first how a
    solution begins is learned, then how it goes on. What lies after the last n_i is never forwarded. That b grows
    linearly, and from where to where, is ours. With both shares 1 it is `everything`, to the bit.
    """

    share_first: float = number(0.2, "share of a completion that learns in the first step", above=0, most=1)
    share_last: float = number(1.0, "share of a completion that learns in the last step", above=0, most=1)
    progress: float = fitted(0.0)
    name: ClassVar[str] = "prefix_growing"
    paper: ClassVar[str] = "arXiv 2512.15274"

    @property
    def share(self) -> float:
        """The share b of this step."""
        return self.share_first + (self.share_last - self.share_first) * self.progress

    def at_progress(self, progress: float) -> Self:
        """Return this selection as it is in the course of training."""
        return replace(self, progress=progress)

    def demand(self, length: int) -> Learned:
        """Return the reach of the largest share."""
        most = self._kept(max(self.share_first, self.share_last), length)
        return Learned("early", Reach(most, most, most))

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return 1 / (G n_i) for the first n_i tokens."""
        length = completion.learning
        kept = self._kept(self.share, length)
        return completion.placed(np.where(np.arange(length) < kept, 1.0 / (completion.group * kept), 0.0))

    @staticmethod
    def _kept(share: float, length: int) -> int:
        return max(1, ceil(share * length - 1e-9))
