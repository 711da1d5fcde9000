"""Tokens that a completion inherits: those that do not learn take no pick, and shared ones learn from all holders."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.accepted import Accepted
from creditree.credit.base import Credit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.opo import Opo
from creditree.credit.prefix_gain import PrefixGain
from creditree.credit.process import ProcessValue
from creditree.credit.reinforce_pp import ReinforcePP
from creditree.credit.rloo import Rloo
from creditree.fields import scatter, trained_leaves
from creditree.select.auto import Auto
from creditree.select.base import ByCompletion, Completion
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.constant_length import ConstantLength
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.select.prefix_cut import PrefixCut
from creditree.select.prefix_growing import PrefixGrowing
from creditree.tree import FloatArray, RolloutTree
from tests.forests import EOS, KEY, assigned, branch, flat, forests, grown_trees, root

SELECTIONS: tuple[ByCompletion, ...] = (
    Everything(),
    Everything(loss_mean="tokens"),
    ConstantLength(normal_length=7),
    EarlyAndRandom(alpha=1, probability=0.5, k=3),
    PrefixGrowing(share_first=0.5),
    PrefixCut(),
)
COUNTS_LENGTHS = (*SELECTIONS[3:], Auto(budget=0.5), Auto(budget=0.5, allocation="tokens"))


def _scouted() -> RolloutTree:
    """Return a tree whose first completion does not learn: two others have its first 6 tokens and 4 of their own."""
    scout = replace(branch([2] * 9 + [EOS], None), learns=False)
    return root().grown(scout).grown(*(branch([3, 4, 2 + n, EOS], float(n), 0, 6) for n in range(2)))


def _of_forks(select: ByCompletion) -> list[FloatArray]:
    tree = _scouted()
    weights = select.weigh((tree,), (GroupRelative().assign(tree),), KEY)[0]
    assert weights[0] is None
    return [assigned(values) for values in weights[1:]]


def test_early_tokens_are_those_that_learn() -> None:
    """alpha = k = 3 of each fork's own 4 tokens: 1 / (G |T_i|) = 1 / (2 * 3), though 6 tokens come before them."""
    for values in _of_forks(EarlyAndRandom(alpha=3, probability=0.5, k=3)):
        assert values == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0], abs=1e-15)
    for values in _of_forks(EarlyAndRandom(alpha=8, probability=0.5, k=8)):
        assert values == pytest.approx([1 / 8] * 4, abs=1e-15)


def test_a_first_part_is_one_of_the_tokens_that_learn() -> None:
    """ceil(.4 * 4) = 2 tokens of each fork, of weight 1 / (2 * 2); of all ten it would be the 4 that do not learn."""
    for values in _of_forks(PrefixGrowing(share_first=0.4)):
        assert values == pytest.approx([1 / 4, 1 / 4, 0, 0], abs=1e-15)


@pytest.mark.parametrize("select", COUNTS_LENGTHS, ids=lambda select: f"{select.name}")
def test_weights_do_not_depend_on_what_is_inherited(select: ByCompletion) -> None:
    """A fork of a branch that does not learn is weighed as its own tokens would be alone, by the same draws."""
    alone = flat([[3, 4, 2 + n, EOS] for n in range(2)], [0.0, 1.0])
    given = (GroupRelative().assign(alone),)
    group = 2
    for leaf, inherited in enumerate(_of_forks(select)):
        key = KEY.at("mask", 0, leaf + 1)  # the draws of the fork, which is the tree's branch after the scout
        completion = Completion(alone, leaf, group, given[0], key)
        assert select.ready((alone,), given).of_completion(completion) == pytest.approx(inherited, abs=1e-15)


def test_a_shared_token_learns_as_one_row_for_each_completion_would() -> None:
    """rewards 1, 0 and 0: A = 1, -1/2 and -1/2. The first token is of completions of 20 and 2 tokens, G = 3.

    As one row each: 1 / (3 * 20) - 1/2 / (3 * 2) = -1/15. The mean advantage (1/4) times the sum of weights (11/60)
    would be 11/240, and raise it.
    """
    tree = root().grown(branch([4] * 19 + [EOS], 1.0), branch([EOS], 0.0, 0, 1), branch([6, EOS], 0.0))
    given = (Rloo().assign(tree),)
    weight = assigned(Everything().weigh((tree,), given, KEY)[0][0])
    advantage = assigned(Everything().blended((tree,), given, KEY)[0][0])
    assert weight[0] * advantage[0] == pytest.approx(-1 / 15, abs=1e-15)
    assert advantage[1:].tolist() == [1.0] * 19


@given(grown_trees(failures=True), st.sampled_from(SELECTIONS))
def test_blended_advantages_make_the_loss_of_one_row_for_each_completion(
    tree: RolloutTree, select: ByCompletion
) -> None:
    """Each completion's row has its weights times its reward's distance from the mean of the others'."""
    given_ = (Rloo().assign(tree),)
    leaves = trained_leaves(tree, given_[0])
    rows: list[FloatArray | None] = [np.zeros(len(one.token_ids)) for one in tree.branches]
    for leaf in leaves:
        others = [other for other in leaves if other != leaf]
        advantage = float(tree.rewards([leaf])[0] - tree.rewards(others).mean()) if others else 0.0
        own = Completion(tree, leaf, len(leaves), given_[0], KEY.at("mask", 0, leaf))
        scatter(tree, leaf, advantage * select.of_completion(own), rows, add=True)
    (weights,), (blended,) = select.weigh((tree,), given_, KEY), select.blended((tree,), given_, KEY)
    for row, weight, advantages in zip(rows, weights, blended, strict=True):
        product = np.zeros(len(assigned(row))) if weight is None else weight * assigned(advantages)
        assert product == pytest.approx(row, abs=1e-12)


@pytest.mark.parametrize("credit", [GroupRelative(), ReinforcePP(), Accepted(), Opo()], ids=lambda c: c.name)
def test_an_advantage_of_a_completion_is_that_of_its_last_token(credit: Credit) -> None:
    """Under weights of 1 the blended advantage is the mean of those that hold a token, as `spread` has it."""
    tree = root().grown(branch([4, 4, EOS], 1.0), branch([EOS], 0.0, 0, 1), branch([5, EOS], 0.25, 0, 2))
    given_ = (credit.assign(tree),)
    assert credit.per_completion
    for before, after in zip(given_[0], Everything(loss_mean="tokens").blended((tree,), given_, KEY)[0], strict=True):
        assert after == pytest.approx(before, abs=1e-15)


@given(forests(failures=True), st.sampled_from(SELECTIONS))
def test_without_forks_nothing_is_blended(forest: tuple[RolloutTree, ...], select: ByCompletion) -> None:
    given_ = tuple(GroupRelative().assign(tree) for tree in forest)
    assert select.blended(forest, given_, KEY) is given_


def test_what_is_no_advantage_of_a_completion_is_left_as_it_is() -> None:
    assert not ProcessValue().per_completion
    assert not PrefixGain().per_completion
    tree = root().grown(branch([4, 4, EOS], 1.0), branch([EOS], 0.0, 0, 1))
    given_ = (PrefixGain().assign(tree),)
    assert BranchingPairs().blended((tree,), given_, KEY) is given_


@pytest.mark.parametrize("select", [Everything(), EarlyAndRandom(), BranchingPairs()], ids=lambda one: one.name)
def test_a_problem_of_which_nothing_was_judged_is_no_part_of_the_mean(select: ByCompletion | BranchingPairs) -> None:
    forests_ = [(flat([[2, EOS], [3, EOS]], rewards),) for rewards in ([1.0, 0.0], [None, None])]
    fields = [tuple(GroupRelative().assign(tree) for tree in forest) for forest in forests_]
    assert select.normaliser(forests_, fields) == 1.0
    assert select.normaliser(forests_[1:], fields[1:]) == 1.0  # nothing is divided by 0
    assert select.normaliser(forests_[:1] * 3, fields[:1] * 3) == 3.0
