"""Fixed token ids that the server scores after each load, to be compared with what the learner says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from creditree.tree import FloatArray

MARGIN = 6.0
"""Sizes of the rounding between two sets of weights before they are told apart: three on either side of the middle."""
LEAST_NOISE = 1e-4
"""Nats a token: two programs that compute in float32 differ by no more."""
BASE, PREVIOUS, CONFIRMED = "the base weights", "the weights before the last update", "the weights of an earlier update"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the server was found to serve. `stale`: which other weights, None for none;  `mean`: of |s - l|, in nats.

    `told`: which others lie far enough from the right weights to be told from them, rounding being what it is.
    """

    stale: str | None
    mean: float
    told: frozenset[str] = frozenset()


@dataclass(slots=True)
class Canary:
    """Tells stale weights from rounding.

    With s the server's scores of n fixed tokens, l the learner's under the weights that were loaded, and h the
    learner's under other weights (the base, those before the last update, the last that were confirmed), the server's
    place between the two is

        beta = <s - h, l - h> / |l - h|^2

    1 where it serves l and 0 where it serves h, but for rounding. Server and learner round differently, by `noise`
    nats a token, which is measured at the start as the root mean square of s - l under the base weights; it moves beta
    by noise / |l - h|. So a server is called stale where beta < 1/2 and |l - h| >= 6 noise: either side of 1/2 is then
    three times the rounding away. Where an update moves the scores by less, that is by less than 6 noise / sqrt(n) a
    token, it cannot be told from rounding, nor do its samples differ by more; and since the base and the last weights
    that were confirmed are compared too, a server that stays behind is caught as soon as the distance has added up.
    Confirmed are weights that were told from the last that were.

    Besides, the mean of |s - l| must not be above `limit`: other models, adapters that were read in part, and
    precisions too coarse to learn from are caught by that.
    """

    noise: float
    limit: float
    others: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def begin(cls, server: FloatArray, learner: FloatArray, limit: float) -> "Canary":
        """Begin with both sides' scores under the base weights."""
        noise = max(LEAST_NOISE, float(np.sqrt(np.mean(np.square(server - learner)))))
        return cls(noise, limit, {BASE: learner})

    def look(self, server: FloatArray, learner: FloatArray) -> Finding:
        """Return what the server serves, by its scores and the learner's under the weights that it should."""
        return judge(server, learner, self.others, self.noise)

    def accept(self, learner: FloatArray, finding: Finding) -> None:
        """Take the weights as those that are served from now on."""
        self.others[PREVIOUS] = learner
        anchor = CONFIRMED if CONFIRMED in self.others else BASE
        if anchor in finding.told:
            self.others[CONFIRMED] = learner


def judge(server: FloatArray, learner: FloatArray, others: Mapping[str, FloatArray], noise: float) -> Finding:
    """Return what scores [n] show, given the learner's under the right weights and under others: `Canary`."""
    told, behind = set(), {}
    for name, other in others.items():
        gap = learner - other
        size = float(np.linalg.norm(gap))
        if size < MARGIN * noise:
            continue
        told.add(name)
        if (server - other) @ gap < 0.5 * size**2:
            behind[name] = float(np.linalg.norm(server - other))
    stale = min(behind, key=lambda name: behind[name], default=None)
    return Finding(stale, float(np.mean(np.abs(server - learner))), frozenset(told))
