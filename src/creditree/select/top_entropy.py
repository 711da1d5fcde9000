"""Only tokens before which the model was unsure: the top share by entropy (arXiv 2506.01939)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.select.masked import TopShare
from creditree.signals import Signals
from creditree.tree import Branch, FloatArray


@dataclass(frozen=True)
class TopEntropy(TopShare):
    """The tokens of the top share `q` of a training step by H_t, and all that tie with the last of them.

    H_t = -sum_v pi(v | y_<t) log pi(v | y_<t) in nats, of the untempered policy that sampled (arXiv 2506.01939 takes it
    at the temperature of sampling). The other tokens count in the mean (`loss_mean`, as for `everything`), but their
    policy loss is 0. q = 1 is `everything`, to the bit.

    By default a KL penalty is left out for them too (`penalty_on: selected`); the paper trains without a penalty. TRL
    1.16's `top_entropy_quantile` masks the policy loss alone: its KL term acts on every token, which is `penalty_on:
    all`, and is multiplied by the ratio (`use_bias_correction_kl`, on by default), which is `kl_ratio: true` of the
    objective. TRL ranks the tokens of one forward pass by the entropy of logits / temperature under the policy as it is
    then, and keeps those at or above the interpolated (1 - q)-quantile: one token fewer than here for some lengths.
    """

    name: ClassVar[str] = "top_entropy"
    paper: ClassVar[str] = "arXiv 2506.01939"
    signals: ClassVar[Signals] = Signals(entropies=True)

    def scores(self, branch: Branch) -> FloatArray:
        """Return the entropies. Raises ValueError where the engine gave none."""
        if branch.entropies is None:
            raise ValueError("a branch has no entropies to select by: sample with Sampling(entropies=True)")
        return branch.entropies
