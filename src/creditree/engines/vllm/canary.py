"""Fixed token ids that the server scores after each load, to be compared with what the learner says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from creditree.tree import FloatArray

MARGIN = 5.0
"""Standard deviations of rounding from half way between two sets of weights before they are told apart."""
LEAST_NOISE = 1e-4
"""Nats a token: two programs that compute in float32 differ by no more."""
BASE, PREVIOUS, CONFIRMED = "the base weights", "the weights before the last update", "the weights of an earlier update"


@dataclass(frozen=True, slots=True)
class ServedWeights:
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
    place between the two, counted from half way in standard deviations of rounding, is

        z = <s - (l + h) / 2, l - h> / (tau |l - h|)

    tau: nats a token by which server and learner round differently, the root mean square of s - l under the base
    weights, which is measured at the start; or of s less the nearer of l and h, where that is more. All of s, l and h
    are rounded, and half way between l and h the rounding of l - h does not count for either side: where the weights
    hardly differ, z is a standard normal number. A server is called stale where z <= -5, and told from h where z >= 5.
    One that serves h exactly has z = -|l - h| / (2 tau), so it is caught where |l - h| >= 10 tau. An update that moves
    the scores by less, 10 tau / sqrt(n) a token, cannot be told from rounding; and since the base and the last weights
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
        noise = max(LEAST_NOISE, _rms(server - learner))
        return cls(noise, limit, {BASE: learner})

    def look(self, server: FloatArray, learner: FloatArray) -> ServedWeights:
        """Return what the server serves, by its scores and the learner's under the weights that it should."""
        return judge(server, learner, self.others, self.noise)

    def accept(self, learner: FloatArray, served: ServedWeights) -> None:
        """Take the weights as those that are served from now on."""
        self.others[PREVIOUS] = learner
        anchor = CONFIRMED if CONFIRMED in self.others else BASE
        if anchor in served.told:
            self.others[CONFIRMED] = learner


def judge(server: FloatArray, learner: FloatArray, others: Mapping[str, FloatArray], noise: float) -> ServedWeights:
    """Return what scores [n] show, given the learner's under the right weights and under others: `Canary`."""
    told, behind = set(), {}
    off = _rms(server - learner)
    for name, other in others.items():
        gap = learner - other
        size = float(np.linalg.norm(gap))
        tau = max(noise, min(off, _rms(server - other)))
        z = float((server - (learner + other) / 2) @ gap) / (tau * size) if size else 0.0
        if z >= MARGIN:
            told.add(name)
        elif z <= -MARGIN:
            behind[name] = float(np.linalg.norm(server - other))
    stale = min(behind, key=lambda name: behind[name], default=None)
    return ServedWeights(stale, float(np.mean(np.abs(server - learner))), frozenset(told))


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
