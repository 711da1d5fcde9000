"""What an engine is asked to tell of the tokens that it samples, besides their log-probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from creditree.errors import ConfigError, check_choice, check_least
from creditree.steps import Separators
from creditree.tree import FloatArray, IntArray

InfluenceSource = Literal["pass", "decoding"]


@dataclass(frozen=True, slots=True)
class InfluenceSpec:
    """Forward context influence (FCI) of the steps of a completion (arXiv 2509.26628, equations 5 and 6).

    `delta`: a step counts from so many steps after it;  `layers`, `heads`: which to take the maximum over (None: all);
    `source`: a forward pass over the finished completion, or the attention of decoding itself, with no pass. Decoding
    leaves to the pass what it cannot see: completions without any token of the first level of separators, those that
    go on from tokens of a step from `delta` on which were decoded earlier (forks); those of a second spec in one call;
    and all of them where decoding is in static shapes (CUDA).
    """

    separators: Separators = field(default_factory=Separators)
    delta: int = 4
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    source: InfluenceSource = "pass"

    def check(self) -> None:
        """Raise ConfigError for numbers that ask for nothing, by the names they have in a configuration."""
        check_least("method.delta", self.delta, 1)
        check_choice("method.influence_source", self.source, get_args(InfluenceSource))
        for which, chosen in (("layers", self.layers), ("heads", self.heads)):
            if chosen == ():
                raise ConfigError(f"method.influence_{which} is empty: name at least one, or leave it out to take all.")


@dataclass(frozen=True, slots=True)
class Signals:
    """`entropies`: of the untempered distribution before each token;  `influence`: of each token's step."""

    entropies: bool = False
    influence: InfluenceSpec | None = None

    def check(self) -> None:
        """Raise ConfigError where the influence is asked for in a way that cannot be."""
        if self.influence is not None:
            self.influence.check()


NO_SIGNALS = Signals()

Ask = Literal["residuals", "states", "texts"]
"""What is found out of whole trees, once they are judged and before the first update of a step:

``residuals``: the norm of what the adapter adds to the last hidden state before each token;  ``states``: these states;
``texts``: the text of any prefix. The first two are one more forward pass each, without gradient.
"""


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """What a piece asked for of one tree, each by branch and token; None or nothing for what nobody asked for.

    `residuals` [tokens];  `states` [tokens, width], before each token, after the final norm;  `texts` decodes prefixes.
    """

    residuals: Sequence[FloatArray] = ()
    states: Sequence[FloatArray] = ()
    texts: Callable[[Sequence[IntArray]], Sequence[str]] | None = None
