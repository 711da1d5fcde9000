"""Only tokens that were not a matter of course: the probability mask of SPO-chain (arXiv 2505.23564)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from creditree.piece import number
from creditree.select.masked import Masked
from creditree.tree import Branch


@dataclass(frozen=True)
class LowProbability(Masked):
    """The tokens that were sampled with a probability below `probability_below`.

    The probability is that under the distribution that was sampled from (temperature and top-p included). The other
    tokens count in the mean (`loss_mean`, as for `everything`); that is ours. With 1, only tokens that had no
    alternative are left out.
    """

    probability_below: float = number(
        0.9,
        "tokens learn that were sampled with a probability below this",
        above=0,
        most=1,
        why="tokens learn whose probability lies below it",
    )
    name: ClassVar[str] = "low_probability"
    paper: ClassVar[str] = "arXiv 2505.23564"
    reads_sampler_logprobs: ClassVar[bool] = True

    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""
        return np.asarray(np.exp(branch.sampler_logprobs) < self.probability_below)
