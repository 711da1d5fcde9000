"""Named methods have their papers' constants; crosses run, or are refused with the reason."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from creditree.batch import pack
from creditree.credit.credit import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.explore.explorer import Explorer
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.fields import has_signal
from creditree.methods import METHODS, Method, check_cross
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.objective import L2Penalty, Objective
from creditree.objective.policy_gradient import PolicyGradient
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.select.selection import Selection
from tests.forests import KEY, driven, flat, rambler

EXPLORERS: tuple[Explorer, ...] = (Group(6), Replay(6, 1, 1))
CREDITS: tuple[Credit, ...] = (GroupRelative(), GroupRelative(std=False), PrefixGain())
SELECTIONS: tuple[Selection, ...] = (
    Everything(),
    Everything("tokens"),
    EarlyAndRandom(alpha=2, k=4),
    BranchingPairs(),
    BranchingPairs("all"),
)
OBJECTIVES: tuple[Objective, ...] = (
    PolicyGradient(),
    PolicyGradient(kl=0.01),
    Likelihood(),
    Likelihood(kl=0.01),
    Clipped(),
)


def _refusal(credit: Credit, select: Selection, objective: Objective) -> str | None:
    """Say which crosses make no sense, in a table written apart from the code."""
    if isinstance(select, BranchingPairs) and isinstance(credit, GroupRelative):
        return "gives the completions that share a pair different advantages"
    if isinstance(objective, Likelihood) and not isinstance(select, BranchingPairs):
        return "it would be weighed twice"
    return None


CROSSES = list(product(CREDITS, SELECTIONS, OBJECTIVES))
REFUSED = [cross for cross in CROSSES if _refusal(*cross)]
RUNNING = [cross for cross in CROSSES if not _refusal(*cross)]


def _names(value: object) -> str:
    return str(getattr(value, "name", value))


@pytest.mark.parametrize(("credit", "select", "objective"), REFUSED, ids=_names)
def test_a_cross_that_makes_no_sense_is_refused_with_the_reason(
    credit: Credit, select: Selection, objective: Objective
) -> None:
    with pytest.raises(ConfigError, match=_refusal(credit, select, objective)) as error:
        check_cross(credit, select, objective)
    assert select.name in str(error.value)
    assert "; use " in str(error.value)


@pytest.mark.parametrize("explore", EXPLORERS, ids=_names)
@pytest.mark.parametrize(("credit", "select", "objective"), RUNNING, ids=_names)
def test_every_other_cross_runs(explore: Explorer, credit: Credit, select: Selection, objective: Objective) -> None:
    method = Method("cross", "none", explore, credit, select, objective)
    forest, _ = driven(method.explore, rambler)
    advantages = tuple(method.credit.assign(tree) for tree in forest)
    weights = method.select.weigh(forest, advantages, KEY)
    assert has_signal(advantages, weights)
    batch = pack([forest], [advantages], [weights], keep_zero_advantage=method.objective.kl > 0)
    assert batch.num_terms > 0
    logprobs = torch.tensor(batch.old_logprob, requires_grad=True)
    terms = method.objective.terms(
        logprobs, *map(torch.tensor, (batch.old_logprob, batch.advantage, batch.old_logprob))
    )
    (gradient,) = torch.autograd.grad((torch.tensor(batch.weight) * terms).sum(), logprobs)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


def test_there_are_crosses_of_both_kinds() -> None:
    # 3 credits, 5 selections, 5 objectives: 2 * 2 * 5 fail on pairs; of the others, 3 * 3 * 2 on the likelihood.
    assert len(REFUSED) == 20 + 18
    assert len(RUNNING) == 75 - 38


def test_a_method_of_such_a_cross_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="share a pair"):
        Method("x", "none", Group(8), GroupRelative(), BranchingPairs(), PolicyGradient())
    with pytest.raises(ConfigError, match="weighed twice"):
        replace(METHODS["grpo"](), objective=Likelihood())


def test_names_and_paper() -> None:
    assert list(METHODS) == ["grpo", "s-grpo", "t-spmo"]
    for name, make in METHODS.items():
        assert make().name == name
        assert make().paper == "arXiv 2504.20834"


def test_grpo_has_the_papers_constants() -> None:
    """Group 8 and KL 0.01: the paper's. The unbiased std and eps 1e-4: TRL's, as the paper states none."""
    assert METHODS["grpo"]() == Method(
        "grpo",
        "arXiv 2504.20834",
        Group(group=8),
        GroupRelative(std=True, eps=1e-4),
        Everything(),
        PolicyGradient(kl=0.01, l2=L2Penalty(0.0), loss_temperature=1.0),
    )


def test_s_grpo_has_the_papers_constants() -> None:
    """Group 8 and KL 0.01: the paper's. alpha 50, k 100, P 0.5: ours, for multiplication."""
    assert METHODS["s-grpo"]() == Method(
        "s-grpo",
        "arXiv 2504.20834",
        Group(group=8),
        GroupRelative(std=True, eps=1e-4),
        EarlyAndRandom(alpha=50, probability=0.5, k=100),
        PolicyGradient(kl=0.01, l2=L2Penalty(0.0), loss_temperature=1.0),
    )


def test_t_spmo_has_the_papers_constants() -> None:
    """Group 50 and L2 0.01 in the loss: the paper's. One replay of each kind, r = 1 and how to count U: ours."""
    assert METHODS["t-spmo"]() == Method(
        "t-spmo",
        "arXiv 2504.20834",
        Replay(group=50, successes=1, failures=1, threshold=1.0),
        PrefixGain(),
        BranchingPairs(u_norm="branching"),
        Likelihood(kl=0.0, l2=L2Penalty(0.01, decoupled=False), loss_temperature=1.0),
    )


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_equal_rewards_are_no_signal(name: str, reward: float) -> None:
    method = METHODS[name]()
    forest = (flat([[2, 3, 1], [2, 4, 1], [3, 1]] * 3, [reward] * 9),)
    advantages = tuple(method.credit.assign(tree) for tree in forest)
    weights = method.select.weigh(forest, advantages, KEY)
    assert not has_signal(advantages, weights)


@pytest.mark.parametrize("name", list(METHODS))
def test_failed_verdicts_change_nothing_for_the_others(name: str) -> None:
    """The failed ones come last, so that the others keep their indices, which key their draws."""
    method = METHODS[name]()
    completions, rewards = [[2, 3, 1], [2, 4, 1], [3, 1]], [1.0, 0.0, 0.5]
    batches = []
    for tree in (flat(completions, rewards), flat([*completions, [4, 1], [2, 3, 1]], [*rewards, None, None])):
        advantages = (method.credit.assign(tree),)
        weights = method.select.weigh((tree,), advantages, KEY)
        batches.append(pack([(tree,)], [advantages], [weights], keep_zero_advantage=True))
    for column in ("token_ids", "exit", "row", "token", "advantage", "weight", "old_logprob"):
        assert np.array_equal(getattr(batches[0], column), getattr(batches[1], column)), column
