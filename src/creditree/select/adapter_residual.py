"""Only tokens where the adapter changes the model: the top share by its hidden-state residual (arXiv 2606.00257)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditree.errors import ConfigError
from creditree.piece import Circumstances, again
from creditree.select.masked import TopShare
from creditree.signals import Ask, Seen
from creditree.tree import Branch, FloatArray, RolloutTree


@dataclass(frozen=True)
class AdapterResidual(TopShare):
    """The tokens of the top share `q` of a training step by s_t = |h_adapted - h_base|, and all that tie with the last.

    h is the last hidden state before token t, after the final norm, with the adapter and without it; |.| the Euclidean
    norm (arXiv 2606.00257, whose salience weighs tokens; that a share is kept, and which, is ours). Both are computed
    for all tokens of a step before its first update: a forward pass without gradient over each prefix, the layers from
    the first adapted one on twice (`measured_tokens` of the ledger).

    Where the adapter adds nothing, as before the first update, all tokens tie at 0 and all learn. The other tokens
    count in the mean (`loss_mean`, as for `everything`). q = 1 is `everything`, to the bit.
    """

    q: float = again(TopShare, "q", 0.5)
    name: ClassVar[str] = "adapter_residual"
    paper: ClassVar[str] = "arXiv 2606.00257"

    @property
    def asks(self) -> frozenset[Ask]:
        """The residuals."""
        return frozenset({"residuals"})

    def observe(self, tree: RolloutTree, seen: Seen) -> RolloutTree:
        """Return the tree with its residuals."""
        return tree.noted("residuals", seen.residuals)

    def check(self, run: Circumstances) -> None:
        """Raise ConfigError where there is no adapter."""
        if not run.adapter:
            raise ConfigError(
                "method.select 'adapter_residual' ranks tokens by what the adapter adds to their hidden states, and "
                "with train.weights 'all' there is no adapter; set train.weights: adapter, or select: top_entropy."
            )

    def scores(self, branch: Branch) -> FloatArray:
        """Return the residuals. Raises ValueError where they were not measured."""
        if "residuals" not in branch.notes:
            raise ValueError("a branch has no residuals to select by: observe them first (creditree.train.observe)")
        return np.asarray(branch.notes["residuals"], dtype=np.float64)
