"""The ratio of whole sequences, clipped as one (GSPO, arXiv 2507.18071)."""

from dataclasses import dataclass
from typing import ClassVar

from creditree.objective.base import Objective
from creditree.objective.clipped import Clipped
from creditree.piece import again


@dataclass(frozen=True)
class Gspo(Clipped):
    """`clipped` with s_i = (pi(y_i) / pi_old(y_i))^(1 / |y_i|), the geometric mean of a sequence's ratios, for r.

    A sequence is clipped whole or not at all, and the gradient of a term is s_i A grad log pi(y_t): the paper's
    GSPO-token, which is GSPO where a sequence has one advantage. s_i is of the tokens that are learned from, so of all
    with ``select: everything``; of a fork, of its own tokens. While pi is pi_old, the gradient is that of
    `policy_gradient`. The clip is the paper's, 3e-4 below and 4e-4 above 1; there is no dual clip, and no KL penalty
    unless one is set.
    """

    clip_low: float = again(Clipped, "clip_low", 3e-4)
    clip_high: float = again(Clipped, "clip_high", 4e-4)
    dual_clip: float = again(Clipped, "dual_clip", 1e9)
    kl: float = again(Objective, "kl", 0.0)
    name: ClassVar[str] = "gspo"
    paper: ClassVar[str] = "arXiv 2507.18071"
    by_sequence: ClassVar[bool] = True
