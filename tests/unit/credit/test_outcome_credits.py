"""Credits by the outcome alone: golden numbers, what they reduce to, and what teaches nothing."""

import numpy as np
import pytest

from creditree.credit.accepted import Accepted
from creditree.credit.base import Credit, OutcomeCredit
from creditree.credit.group_relative import GroupRelative
from creditree.credit.mc_grpo import McGrpo
from creditree.credit.opo import Opo
from creditree.credit.pass_at_k import PassAtK
from creditree.credit.reinforce_pp import ReinforcePP
from creditree.credit.rloo import Rloo
from creditree.fields import num_trained
from tests.forests import assigned, branch, flat, root

BASELINES: tuple[Credit, ...] = (Rloo(), Opo(), PassAtK(), McGrpo(), ReinforcePP(), ReinforcePP(baseline="group"))


def test_golden_rloo() -> None:
    # 1 - (0 + 0.5) / 2 = 0.75; 0 - (1 + 0.5) / 2 = -0.75; 0.5 - (1 + 0) / 2 = 0
    assert Rloo().of_rewards(np.array([1.0, 0.0, 0.5])) == pytest.approx([0.75, -0.75, 0.0], abs=1e-15)


def test_rloo_is_group_relative_without_its_deviation_times_g_by_g_less_1() -> None:
    rewards = np.array([0.3, 1.0, 0.0, 0.7, 0.2])
    assert Rloo().of_rewards(rewards) == pytest.approx(5 / 4 * GroupRelative(std=False).of_rewards(rewards), abs=1e-15)


def test_golden_opo() -> None:
    # Lengths 4, 3 and 1, rewards 1, 0 and 0: b = 4 / 8, so 1 - 0.5, and -0.5 twice.
    field = Opo().assign(flat([[2, 3, 4, 1], [3, 4, 1], [1]], [1.0, 0.0, 0.0]))
    assert [assigned(values).tolist() for values in field] == [[0.5] * 4, [-0.5] * 3, [-0.5]]


def test_opo_of_equal_lengths_is_group_relative_without_its_deviation() -> None:
    tree = flat([[2, 1], [3, 1], [4, 1]], [1.0, 0.25, 0.0])
    for ours, theirs in zip(Opo().assign(tree), GroupRelative(std=False).assign(tree), strict=True):
        assert assigned(ours) == pytest.approx(assigned(theirs), abs=1e-15)


def test_golden_pass_at_k() -> None:
    assert PassAtK().of_rewards(np.array([0.2, 0.9, 0.5])).tolist() == pytest.approx([0.0, 0.4, 0.0])
    assert PassAtK().of_rewards(np.array([1.0, 1.0, 0.0])).tolist() == [0.0, 0.0, 0.0]
    # 0, 1, 0: mean 1/3, squares 1/9 + 4/9 + 1/9 = 2/3, by n - 1 = 2: std = sqrt(1/3)
    found = PassAtK(std=True, eps=1e-12).of_rewards(np.array([0.0, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([0.0, 3**0.5, 0.0])


def test_golden_mc_grpo() -> None:
    # Rewards 1, 0, 0.25, median 0.25: A = 0.75 and -0.25; the middle one is left out, so that two are trained on.
    tree = flat([[2, 1], [3, 1], [4, 1]], [1.0, 0.0, 0.25])
    field = McGrpo(std=False).assign(tree)
    assert field[2] is None
    assert [assigned(values).tolist() for values in field[:2]] == [[0.75, 0.75], [-0.25, -0.25]]
    assert num_trained((tree,), (field,)) == 2
    # of four the median is none of them: (0 + 1) / 2, and all are trained on
    even = McGrpo(std=False).assign(flat([[2, 1], [3, 1], [4, 1], [5, 1]], [1.0, 0.0, 1.0, 0.0]))
    assert [float(assigned(values)[0]) for values in even] == [0.5, -0.5, 0.5, -0.5]


def test_mc_grpo_of_an_even_group_whose_median_is_its_mean_is_group_relative_to_the_bit() -> None:
    rewards = np.array([1.0, 0.0, 1.0, 0.0])
    assert np.array_equal(McGrpo().of_rewards(rewards), GroupRelative().of_rewards(rewards))


def test_mc_grpo_keeps_a_middle_completion_that_others_were_forked_from() -> None:
    tree = root().grown(branch([2, 3, 1], 0.5), branch([4, 1], 1.0, 0, 1), branch([3, 1], 0.0))
    assert all(values is not None for values in McGrpo().assign(tree))


def test_golden_reinforce_pp() -> None:
    # Step: rewards 1, 0 and 1, 1: mean 3/4, squares 1/16 + 9/16 + 1/16 + 1/16 = 3/4, by 3: std = 1/2. So 1/2 and -3/2.
    steps = [(flat([[2, 1], [3, 1]], [1.0, 0.0]),), (flat([[2, 1], [3, 1]], [1.0, 1.0]),)]
    found = ReinforcePP(eps=1e-12).of_step(steps)
    first = [[float(assigned(values)[0]) for values in fields[0]] for fields in found]
    assert first[0] == pytest.approx([0.5, -1.5])
    assert first[1] == pytest.approx([0.5, 0.5])
    # Group: 1/2, -1/2, 0, 0: mean 0, squares 1/2, by 3: std = sqrt(1/6). So sqrt(6) / 2 times 1, -1, 0, 0.
    found = ReinforcePP(baseline="group", eps=1e-12).of_step(steps)
    first = [[float(assigned(values)[0]) for values in fields[0]] for fields in found]
    assert first[0] == pytest.approx([1.5**0.5, -(1.5**0.5)])
    assert first[1] == [0.0, 0.0]


def test_reinforce_pp_of_one_problem_is_group_relative() -> None:
    tree = flat([[2, 1], [3, 1], [4, 1]], [1.0, 0.25, 0.0])
    for baseline in ("step", "group"):
        ours = ReinforcePP(baseline=baseline).assign(tree)
        for one, other in zip(ours, GroupRelative().assign(tree), strict=True):
            assert assigned(one) == pytest.approx(assigned(other), abs=1e-14)


def test_golden_accepted() -> None:
    assert Accepted().of_rewards(np.array([1.0, 0.9, 2.0])).tolist() == [1.0, 0.0, 1.0]
    assert Accepted(threshold=0.5).of_rewards(np.array([1.0, 0.5, 0.0])).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("credit", BASELINES, ids=lambda credit: credit.name)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_equal_rewards_teach_nothing(credit: Credit, reward: float) -> None:
    field = credit.assign(flat([[2, 3, 1], [2, 4, 1], [3, 1]], [reward] * 3))
    assert all(values is None or not values.any() for values in field)


@pytest.mark.parametrize("credit", [*BASELINES, Accepted()], ids=lambda credit: credit.name)
def test_a_failed_verdict_neither_gives_nor_gets(credit: Credit) -> None:
    completions, rewards = [[2, 3, 1], [2, 4, 1], [3, 1], [5, 1]], [1.0, 0.0, 0.5, 0.0]
    alone = credit.assign(flat(completions, rewards))
    beside = credit.assign(flat([*completions, [4, 1]], [*rewards, None]))
    assert beside[-1] is None
    for one, other in zip(alone, beside[:-1], strict=True):
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, assigned(other))


@pytest.mark.parametrize("credit", [one for one in BASELINES if isinstance(one, OutcomeCredit)], ids=lambda c: c.name)
def test_one_completion_has_nothing_to_compare_with(credit: OutcomeCredit) -> None:
    assert credit.of_rewards(np.array([1.0])).tolist() == [0.0]
