"""What an engine is asked to tell of the tokens that it samples, besides their log-probabilities."""

from dataclasses import dataclass, field
from typing import Literal

from creditree.steps import Separators

InfluenceSource = Literal["pass", "decoding"]


@dataclass(frozen=True, slots=True)
class InfluenceSpec:
    """Forward context influence (FCI) of the steps of a completion (arXiv 2509.26628, equations 5 and 6).

    `delta`: a step counts from so many steps after it;  `layers`, `heads`: which to take the maximum over (None: all);
    `source`: a forward pass over the finished completion, or the attention of decoding itself.
    """

    separators: Separators = field(default_factory=Separators)
    delta: int = 4
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    source: InfluenceSource = "pass"


@dataclass(frozen=True, slots=True)
class Signals:
    """`entropies`: of the untempered distribution before each token;  `influence`: of each token's step."""

    entropies: bool = False
    influence: InfluenceSpec | None = None


NO_SIGNALS = Signals()
