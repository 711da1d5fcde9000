"""A selection of your own: only the last tokens of a completion learn.

    creditree train CONFIG.yaml --run runs/last --set method.name=grpo \
        --set method.select=examples/own_selection.py:LastTokens --set method.last=20

Its number `last` is declared once: the command above, range checks, `creditree show`, the plan and `--resume` know it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import creditree as ct


@dataclass(frozen=True)
class LastTokens(ct.Masked):
    """Only the last tokens of a completion learn; the others count in the mean."""

    last: int = ct.number(10, "how many tokens learn", least=1)

    def mask(self, branch: ct.Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""
        return np.arange(len(branch.token_ids)) >= len(branch.token_ids) - self.last
