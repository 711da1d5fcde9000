"""The invariants of prefix gains on random groups that end in EOS (so that no completion is a prefix of another)."""

from collections import Counter, defaultdict
from random import Random

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from creditree.credit.prefix_gain import PrefixGain
from creditree.fields import TokenField
from creditree.select.branching_pairs import BranchingPairs
from creditree.tree import RolloutTree
from tests.forests import KEY, assigned, flat, flat_trees, judged_completions, prefix_values

Prefix = tuple[int, ...]


def _gains(tree: RolloutTree) -> dict[tuple[Prefix, int], float]:
    """Return A(v|p) by pair, checked to be the same in every completion that holds the pair."""
    field = PrefixGain().assign(tree)
    gains: dict[tuple[Prefix, int], float] = {}
    for leaf, completion in zip(tree.rewarded, judged_completions(tree), strict=True):
        for at, token in enumerate(completion):
            gain = float(assigned(field[leaf])[at])
            assert gains.setdefault((completion[:at], token), gain) == gain
    return gains


def _next_tokens(tree: RolloutTree) -> dict[Prefix, Counter[int]]:
    following: dict[Prefix, Counter[int]] = defaultdict(Counter)
    for completion in judged_completions(tree):
        for at, token in enumerate(completion):
            following[completion[:at]][token] += 1
    return following


@given(flat_trees(failures=True))
def test_gain_is_the_difference_of_prefix_means(tree: RolloutTree) -> None:
    value = prefix_values(judged_completions(tree), tree.rewards(tree.rewarded))
    for (prefix, token), gain in _gains(tree).items():
        assert np.isclose(gain, value[(*prefix, token)] - value[prefix], atol=1e-12)


@given(flat_trees(failures=True))
def test_1_gains_of_a_completion_telescope_to_reward_minus_mean(tree: RolloutTree) -> None:
    field, rewards = PrefixGain().assign(tree), tree.rewards(tree.rewarded)
    for leaf, reward in zip(tree.rewarded, rewards, strict=True):
        assert np.isclose(assigned(field[leaf]).sum(), reward - rewards.mean(), atol=1e-12)


@given(flat_trees(failures=True))
def test_2_counted_gains_at_a_prefix_sum_to_zero(tree: RolloutTree) -> None:
    gains = _gains(tree)
    for prefix, following in _next_tokens(tree).items():
        assert np.isclose(sum(n * gains[prefix, token] for token, n in following.items()), 0.0, atol=1e-12)


@given(flat_trees(failures=True))
def test_3_only_a_branching_prefix_with_different_values_has_gains(tree: RolloutTree) -> None:
    gains = _gains(tree)
    value = prefix_values(judged_completions(tree), tree.rewards(tree.rewarded))
    for prefix, following in _next_tokens(tree).items():
        different = len({value[(*prefix, token)] for token in following}) > 1
        assert any(abs(gains[prefix, token]) > 1e-12 for token in following) == different


@given(flat_trees(failures=True))
def test_4_at_most_l_minus_1_prefixes_branch_into_2_l_minus_2_pairs(tree: RolloutTree) -> None:
    distinct = len(set(judged_completions(tree)))
    branching = [following for following in _next_tokens(tree).values() if len(following) > 1]
    assert len(branching) <= max(distinct - 1, 0)
    weights = BranchingPairs().weigh((tree,), (PrefixGain().assign(tree),), KEY)[0]
    terms = sum(int(np.count_nonzero(values)) for values in weights if values is not None)
    assert terms == sum(len(following) for following in branching) <= max(2 * (distinct - 1), 0)


@given(flat_trees(), st.sampled_from([0.0, 1.0, 0.1]))
def test_5_equal_rewards_give_no_gain(tree: RolloutTree, reward: float) -> None:
    equal = flat(judged_completions(tree), [reward] * len(tree.branches))
    assert all(abs(gain) < 1e-12 for gain in _gains(equal).values())


@given(flat_trees(failures=True), st.randoms(use_true_random=False))
def test_6_order_does_not_matter(tree: RolloutTree, random: Random) -> None:
    completions, rewards = judged_completions(tree), tree.rewards(tree.rewarded).tolist()
    order = list(range(len(completions)))
    random.shuffle(order)
    shuffled = flat([completions[i] for i in order], [rewards[i] for i in order])
    assert _gains(shuffled) == _gains(tree)


@given(flat_trees(), st.integers(2, 3))
def test_6_duplicating_the_group_changes_nothing(tree: RolloutTree, times: int) -> None:
    completions, rewards = judged_completions(tree), tree.rewards(tree.rewarded).tolist()
    assert _gains(flat(completions * times, rewards * times)) == _gains(tree)


@given(flat_trees())
def test_gains_times_counts_are_reinforce_with_the_prefix_value_as_baseline(tree: RolloutTree) -> None:
    """n(p + v) A(v|p) = sum over the completions through p + v of R_i - V(p)."""
    completions, rewards = judged_completions(tree), tree.rewards(tree.rewarded)
    value = prefix_values(completions, rewards)
    following = _next_tokens(tree)
    for (prefix, token), gain in _gains(tree).items():
        through = [r for y, r in zip(completions, rewards, strict=True) if y[: len(prefix) + 1] == (*prefix, token)]
        reinforce = sum(float(r) - value[prefix] for r in through)
        assert np.isclose(following[prefix][token] * gain, reinforce, atol=1e-12)


@given(flat_trees(failures=True))
def test_a_failed_verdict_leaves_the_others_as_without_it(tree: RolloutTree) -> None:
    assume(len(tree.rewarded) > 0)
    field: TokenField = PrefixGain().assign(tree)
    alone = PrefixGain().assign(flat(judged_completions(tree), tree.rewards(tree.rewarded).tolist()))
    for leaf in tree.leaves:
        assert (field[leaf] is None) == (tree.branches[leaf].reward is None)
    for leaf, expected in zip(tree.rewarded, alone, strict=True):
        assert np.array_equal(assigned(field[leaf]), assigned(expected))
