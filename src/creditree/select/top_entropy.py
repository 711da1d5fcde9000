"""Only tokens before which the model was unsure: the top share by entropy (arXiv 2506.01939)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.select.masked import TopShare
from creditree.signals import Signals
from creditree.tree import Branch, FloatArray


@dataclass(frozen=True, slots=True)
class TopEntropy(TopShare):
    """The tokens of the top share `q` of a training step by H_t, and all that tie with the last of them.

    H_t = -sum_v pi(v | y_<t) log pi(v | y_<t) in nats, of the untempered policy that sampled (arXiv 2506.01939 takes it
    at the temperature of sampling). The other tokens count in the mean (`loss_mean`, as for `everything`) but have no
    gradient, the KL penalty's included: so the paper and TRL's top_entropy_quantile. q = 1 is `everything`, to the bit.
    """

    name: ClassVar[str] = "top_entropy"
    signals: ClassVar[Signals] = Signals(entropies=True)

    def scores(self, branch: Branch) -> FloatArray:
        """Return the entropies. Raises ValueError where the engine gave none."""
        if branch.entropies is None:
            raise ValueError("a branch has no entropies to select by: sample with Sampling(entropies=True)")
        return branch.entropies
