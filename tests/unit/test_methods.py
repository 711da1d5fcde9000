"""Named methods have their papers' constants; crosses run, or are refused with the reason."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from creditree.batch import pack
from creditree.credit.accepted import Accepted
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.credit.process import ProcessValue
from creditree.errors import ConfigError
from creditree.explore.attention import Attention
from creditree.explore.base import Explorer
from creditree.explore.entropy import Entropy
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.fields import has_signal
from creditree.methods import METHODS, Method, check_cross
from creditree.objective.base import Objective
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.schedule.adaptive import Adaptive
from creditree.schedule.fixed import Fixed
from creditree.select.base import Selection
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.steps import Separators
from tests.forests import KEY, driven, flat, rambler

EXPLORERS: tuple[Explorer, ...] = (Group(6), Replay(6, 1, 1))
CREDITS: tuple[Credit, ...] = (GroupRelative(), GroupRelative(std=False), PrefixGain())
SELECTIONS: tuple[Selection, ...] = (
    Everything(),
    Everything(loss_mean="tokens"),
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
    papers = {name: make().paper for name, make in METHODS.items()}
    assert all(make().name == name for name, make in METHODS.items())
    assert list(papers) == [
        "grpo",
        "s-grpo",
        "t-spmo",
        "t-spmo-paper",
        "treerl",
        "attnrl",
        "attnrl-paper",
        "deepscaler",
        "dr-grpo",
        "raft",
    ]
    assert [papers[name].split()[-1] for name in ("grpo", "s-grpo", "t-spmo")] == ["2504.20834"] * 3
    assert [papers[name] for name in ("treerl", "attnrl", "attnrl-paper")] == [
        "arXiv 2506.11902",
        "arXiv 2509.26628",
        "arXiv 2509.26628",
    ]


CLIPPED = Clipped(clip_low=0.2, clip_high=0.28, dual_clip=3.0, kl=0.001)


def test_treerl_has_the_constants_of_its_comparison() -> None:
    """(M, N, L, T) = (6, 2, 1, 2): 6 + 6 * 2 * 1 * 2 = 30 leaves."""
    method = METHODS["treerl"]()
    assert method.explore == Entropy(6, 2, 1, 2, uncertainty="entropy", masked=False)
    assert method.explore.max_completions == 30
    assert (method.credit, method.select) == (ProcessValue(), Everything(loss_mean="tokens"))
    assert (method.objective, method.schedule) == (CLIPPED, Fixed())


def test_attnrl_has_the_constants_of_the_authors_code() -> None:
    method = METHODS["attnrl"]()
    assert method.explore == Attention(
        6, 2, 1, 2, "difficulty", "ceil", "first", quantile=0.8, min_gap=512, gap_from="prompt", delta=4
    )
    assert method.credit == ProcessValue(value="leaves", root="mean", weighting="after", unexpanded="drop")
    assert (method.select, method.objective) == (Everything(loss_mean="tokens"), CLIPPED)
    assert method.schedule == Adaptive(
        easy_filter="influence", zero_filter="forked", rows_per_problem=None, batch_decay=0.9, off_policy=True
    )
    assert (method.schedule.batch_least, method.schedule.batch_most) == (None, None)
    assert method.schedule.start(64, method.explore.max_completions)["target"] == 64 * 6 * 5


def test_attnrl_as_printed_differs_where_paper_and_code_disagree() -> None:
    code, printed = METHODS["attnrl"](), METHODS["attnrl-paper"]()
    assert isinstance(code.explore, Attention)
    assert isinstance(code.schedule, Adaptive)
    assert printed.explore == replace(code.explore, rounding="round", min_gap=0)
    assert printed.credit == ProcessValue(value="children", unexpanded="keep")
    assert printed.schedule == replace(code.schedule, batch_rounding="round", zero_filter="all")
    assert (printed.select, printed.objective) == (code.select, code.objective)


def test_deepscaler_has_three_stages() -> None:
    method = METHODS["deepscaler"]()
    lengths = [method.schedule.max_new_tokens(step, 64) for step in (0, 1039, 1040, 1519, 1520, 1749)]
    assert lengths == [8192, 8192, 16384, 16384, 24576, 24576]
    assert (method.explore, method.credit) == (Group(8), GroupRelative())


def test_growth_that_credit_or_schedule_need_is_checked() -> None:
    with pytest.raises(ConfigError, match="'drop' takes the advantage"):
        replace(METHODS["attnrl"](), explore=Group(8), schedule=Fixed())
    with pytest.raises(ConfigError, match="does not ask the engine"):
        replace(METHODS["treerl"](), schedule=Adaptive())


def test_a_fitted_method_hands_its_pieces_the_separators() -> None:
    separators = Separators((frozenset({3}),))
    fitted = METHODS["attnrl"]().fitted(separators)
    assert isinstance(fitted.explore, Attention)
    assert isinstance(fitted.schedule, Adaptive)
    assert fitted.explore.separators == fitted.schedule.separators == separators
    assert METHODS["grpo"]().fitted(separators) == METHODS["grpo"]()
    assert [METHODS[name]().looks_at_steps for name in ("grpo", "t-spmo", "treerl", "attnrl")] == [
        False,
        False,
        True,
        True,
    ]


def test_grpo_has_the_papers_constants() -> None:
    """Group 8 and KL 0.01: the paper's. The unbiased std and eps 1e-4: TRL's, as the paper states none."""
    assert METHODS["grpo"]() == Method(
        "grpo",
        "arXiv 2504.20834",
        Group(group=8),
        GroupRelative(std=True, eps=1e-4),
        Everything(),
        PolicyGradient(kl=0.01, l2=0.0, loss_temperature=1.0),
    )


def test_s_grpo_has_the_papers_constants() -> None:
    """Group 8 and KL 0.01: the paper's. alpha 50, k 100, P 0.5: ours, for multiplication."""
    assert METHODS["s-grpo"]() == Method(
        "s-grpo",
        "arXiv 2504.20834",
        Group(group=8),
        GroupRelative(std=True, eps=1e-4),
        EarlyAndRandom(alpha=50, probability=0.5, k=100),
        PolicyGradient(kl=0.01, l2=0.0, loss_temperature=1.0),
    )


def test_t_spmo_has_the_papers_constants() -> None:
    """Group 50 and L2 0.01 in the loss: the paper's. One replay of each kind, r = 1 and how to count U: ours."""
    assert METHODS["t-spmo-paper"]() == Method(
        "t-spmo-paper",
        "arXiv 2504.20834",
        Replay(group=50, successes=1, failures=1, threshold=1.0),
        PrefixGain(),
        BranchingPairs(u_norm="branching"),
        Likelihood(kl=0.0, l2=0.01, loss_temperature=1.0),
    )


def test_t_spmo_is_the_paper_s_without_the_penalty_that_stops_it() -> None:
    assert METHODS["t-spmo"]() == replace(METHODS["t-spmo-paper"](), name="t-spmo", objective=Likelihood())


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_equal_rewards_are_no_signal(name: str, reward: float) -> None:
    method = METHODS[name]()
    if isinstance(method.credit, Accepted):  # it has no baseline: what all completions get right is learned too
        return
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


def test_dr_grpo_has_the_papers_constants() -> None:
    """No deviation, a constant length, no KL: the paper's. Group 8 and the clip of 0.2 on both sides: GRPO's."""
    method = METHODS["dr-grpo"]()
    assert (method.explore, method.credit) == (Group(8), GroupRelative(std=False))
    assert method.select.name == "constant_length"
    assert method.objective == Clipped(clip_low=0.2, clip_high=0.2, dual_clip=3.0, kl=0.0)


def test_a_label_says_which_pieces_were_exchanged() -> None:
    assert METHODS["t-spmo"]().label == "t-spmo"
    assert replace(METHODS["t-spmo"](), explore=Group(9)).label == "t-spmo + explore=group"
    exchanged = replace(METHODS["s-grpo"](), select=Everything(), schedule=Adaptive(easy_filter="none"))
    assert exchanged.label == "s-grpo + select=everything, schedule=adaptive"
    assert replace(METHODS["grpo"](), explore=Group(64)).label == "grpo"  # another number is no other piece
    assert Method("mine", "", Group(8), GroupRelative(), Everything(), PolicyGradient()).label == "mine"
