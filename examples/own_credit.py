"""A credit of your own: only the order of the rewards counts, not by how much they differ.

    creditree train CONFIG.yaml --run runs/ranked --set method.name=grpo \
        --set method.credit=examples/own_credit.py:Ranked --set method.middle=0.5

Useful where a reward has outliers: one completion with an enormous reward cannot outweigh all others. Credits never
sample; `OutcomeCredit` gives every token of a completion the completion's advantage, and shared tokens their mean.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

import creditree as ct
from creditree.tree import FloatArray


@dataclass(frozen=True)
class Ranked(ct.OutcomeCredit):
    """A_i = rank of R_i in its group, between 0 and 1, less `middle`; equal rewards share their mean rank."""

    middle: float = ct.number(0.5, "rank from which a completion is a good one", least=0, most=1)

    def of_rewards(self, rewards: FloatArray) -> FloatArray:
        """Return A [G] of the rewards [G] of one group; 0 where all are equal."""
        if len(rewards) < 2 or np.ptp(rewards) == 0.0:
            return np.zeros(len(rewards))
        return np.asarray((rankdata(rewards) - 1.0) / (len(rewards) - 1) - self.middle)
