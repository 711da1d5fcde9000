"""Every token learns with the same weight, however long its completion is (Dr. GRPO, arXiv 2503.20783)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.piece import number
from creditree.select.base import ByCompletion, Completion
from creditree.tree import FloatArray


@dataclass(frozen=True)
class ConstantLength(ByCompletion):
    """Weight 1 / (G T) for every token of every completion, T = `normal_length` a constant, and the mean over problems.

    Divided by its own length instead (`everything`), a long wrong completion is punished less a token than a short one,
    and long ones are favoured among the wrong. T is only a scale: the paper's code takes the most tokens that are
    generated. Where all completions have T tokens, it is `everything`, to the bit.
    """

    normal_length: int = number(300, "tokens that the sum over a completion is divided by", least=1)
    name: ClassVar[str] = "constant_length"
    paper: ClassVar[str] = "arXiv 2503.20783"

    def of_completion(self, completion: Completion) -> FloatArray:
        """Return the same weight for all tokens of all completions."""
        return np.full(completion.length, 1.0 / (completion.group * self.normal_length))
