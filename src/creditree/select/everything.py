"""Every token learns: the full-token baseline (GRPO; arXiv 2504.20834 section 3), or the token-mean (2503.14476)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.select.base import Completion
from creditree.select.full_mean import FullMean, LossMean
from creditree.tree import FloatArray

__all__ = ["Everything", "LossMean"]


@dataclass(frozen=True)
class Everything(FullMean):
    """Every token of every completion that is trained on, in one of two means (`loss_mean`).

    A token that several of them share has the sum of their weights: one row per leaf, as long as its advantage is the
    same for all of them.
    """

    name: ClassVar[str] = "everything"
    paper: ClassVar[str] = "arXiv 2402.03300; tokens: 2503.14476"

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return the same weight for all tokens."""
        return np.full(completion.length, self.share(completion.group, completion.learning))
