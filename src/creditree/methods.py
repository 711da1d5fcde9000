"""Methods as compositions: one answer to each of the four questions. An ablation is a configuration, never a fork."""

from collections.abc import Callable
from dataclasses import dataclass

from creditree.credit.credit import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.explore.explorer import Explorer
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.objective.likelihood import Likelihood
from creditree.objective.objective import L2Penalty, Objective
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.select.selection import Selection

TOKEN_EFFICIENT_RL = "arXiv 2504.20834"


@dataclass(frozen=True, slots=True)
class Method:
    """explore x credit x select x objective. Raises ConfigError for a cross that makes no sense, with the reason."""

    name: str
    paper: str
    explore: Explorer
    credit: Credit
    select: Selection
    objective: Objective

    def __post_init__(self) -> None:
        check_cross(self.credit, self.select, self.objective)


def check_cross(credit: Credit, select: Selection, objective: Objective) -> None:
    """Raise ConfigError where the pieces do not fit together."""
    if select.unique_pairs and not credit.per_pair:
        raise ConfigError(
            f"method.select '{select.name}' keeps each (prefix, token) pair once, but method.credit '{credit.name}' "
            "gives the completions that share a pair different advantages; use credit: prefix_gain, or select: "
            "everything."
        )
    if isinstance(objective, Likelihood) and not select.unique_pairs:
        raise ConfigError(
            "method.objective 'likelihood' already weighs a token by its probability, and method.select "
            f"'{select.name}' counts it once for each completion that holds it, so it would be weighed twice; use "
            "objective: policy_gradient, or select: branching_pairs."
        )


def grpo() -> Method:
    """Full-token GRPO as the paper's baseline: group of 8, k3 penalty 0.01 (arXiv 2504.20834 section 3; 2402.03300)."""
    return Method("grpo", TOKEN_EFFICIENT_RL, Group(group=8), GroupRelative(), Everything(), PolicyGradient(kl=0.01))


def s_grpo() -> Method:
    """Stochastic GRPO: early tokens surely, later ones at random up to a cap (arXiv 2504.20834, section 3.1)."""
    return Method(
        "s-grpo", TOKEN_EFFICIENT_RL, Group(group=8), GroupRelative(), EarlyAndRandom(), PolicyGradient(kl=0.01)
    )


def t_spmo() -> Method:
    """Token-specific prefix matching: unique pairs, prefix gain, replay, L2 penalty 0.01 (2504.20834, section 3.2)."""
    objective = Likelihood(l2=L2Penalty(coefficient=0.01))
    return Method("t-spmo", TOKEN_EFFICIENT_RL, Replay(group=50), PrefixGain(), BranchingPairs(), objective)


METHODS: dict[str, Callable[[], Method]] = {"grpo": grpo, "s-grpo": s_grpo, "t-spmo": t_spmo}
"""The named methods, with the settings of their paper."""
