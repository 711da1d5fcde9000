"""Only tokens where the adapter changes the model: the top share by its hidden-state residual (arXiv 2606.00257)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.select.masked import TopShare
from creditree.tree import Branch, FloatArray


@dataclass(frozen=True, slots=True)
class AdapterResidual(TopShare):
    """The tokens of the top share `q` of a training step by s_t = |h_adapted - h_base|, and all that tie with the last.

    h is the last hidden state before token t, after the final norm, with the adapter and without it; |.| the Euclidean
    norm (arXiv 2606.00257, whose salience weighs tokens; that a share is kept, and which, is ours). Both are computed
    for all tokens of a step before its first update: a forward pass without gradient over each prefix, the layers from
    the first adapted one on twice (`measured_tokens` of the ledger).

    Where the adapter adds nothing, as before the first update, all tokens tie at 0 and all learn. The other tokens
    count in the mean (`loss_mean`, as for `everything`). q = 1 is `everything`, to the bit.
    """

    q: float = 0.5
    name: ClassVar[str] = "adapter_residual"

    def scores(self, branch: Branch) -> FloatArray:
        """Return the residuals. Raises ValueError where they were not measured."""
        if branch.residuals is None:
            raise ValueError("a branch has no residuals to select by: measure them first (creditree.train.measure)")
        return branch.residuals
