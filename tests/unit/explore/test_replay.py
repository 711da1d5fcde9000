"""Replay, driven by a fake sampler: budgets, cuts, roots."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ConfigError
from creditree.explore.base import Fork
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.rng import Key
from creditree.tree import Forest, RolloutTree
from tests.forests import Writer, driven, judged_completions, rambler, root

KEYS = st.integers(0, 2**32).map(Key.of)


def scripted(rewards: Sequence[float | None], length: int = 6) -> Writer:
    """Return a writer whose first completions have these rewards, in order; no two completions are equal."""
    count = 0

    def write(kept: Sequence[int], rng: np.random.Generator) -> tuple[list[int], float | None]:
        nonlocal count
        count += 1
        reward = rewards[count - 1] if count <= len(rewards) else 0.0
        return [100 + count, *range(10, 9 + length - len(kept))][: length - len(kept)], reward

    return write


def _source(forest: Forest, replayed: RolloutTree) -> list[int]:
    """Return the leaves of the first tree whose completions start with the kept tokens."""
    kept = replayed.kept_ids.tolist()
    return [leaf for leaf in forest[0].leaves if forest[0].completion(leaf).tolist()[: len(kept)] == kept]


@given(
    KEYS, st.integers(0, 8), st.integers(0, 8), st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), min_size=6, max_size=6)
)
def test_budgets_hold_and_are_cut_where_too_few_exist(
    key: Key, successes: int, failures: int, rewards: list[float | None]
) -> None:
    forest, growths = driven(Replay(6, successes, failures, threshold=1.0), scripted(rewards), key)
    won = min(successes, rewards.count(1.0))
    lost = min(failures, rewards.count(0.0) + rewards.count(0.5))
    assert len(forest) == 1 + won + lost
    assert len(growths) == (2 if won + lost else 1)
    assert all(len(tree.branches) == 6 for tree in forest)


@given(KEYS, st.integers(0, 100))
def test_a_replay_root_is_a_proper_prefix_and_the_first_tree_is_untouched(key: Key, seed: int) -> None:
    explorer = Replay(5, 2, 2)
    forest, growths = driven(explorer, rambler, key, seed)
    assert growths[0].forks == (Fork(0, None, 0, 5),)
    assert len(forest[0].branches) == 5
    for replayed in forest[1:]:
        kept = len(replayed.kept_ids)
        assert any(len(forest[0].completion(leaf)) > kept for leaf in _source(forest, replayed))
        assert replayed.prompt_ids is forest[0].prompt_ids
        assert replayed.problem is forest[0].problem
    assert sum(len(tree.branches) for tree in forest) <= explorer.max_completions == 25


def test_replays_are_asked_for_together_each_in_a_tree_of_its_own() -> None:
    rewards = [1.0, 1.0, 0.0, 0.0]
    forest, growths = driven(Replay(4, 1, 2), scripted(rewards))
    assert growths[1].forks == (Fork(1, None, 0, 4), Fork(2, None, 0, 4), Fork(3, None, 0, 4))
    assert [len(tree.branches) for tree in growths[1].forest] == [4, 0, 0, 0]
    assert len(forest) == 4


def test_the_drawn_completion_is_of_its_pool_and_drawn_without_replacement() -> None:
    rewards = [1.0, 0.0, 1.0, 0.5, 0.0, 1.0]
    drawn = Counter[int]()
    for seed in range(200):
        forest, _ = driven(Replay(6, 2, 1), scripted(rewards), Key.of(seed))
        named = [_source(forest, tree) for tree in forest[1:] if len(tree.kept_ids)]
        assert all(len(source) == 1 for source in named)  # every completion starts with a token of its own
        leaves = [source[0] for source in named]
        assert len(set(leaves)) == len(leaves)
        pools = ["success", "success", "failure"]
        for tree, pool in zip(forest[1:], pools, strict=True):
            if len(tree.kept_ids):
                assert (rewards[_source(forest, tree)[0]] == 1.0) == (pool == "success")
        drawn.update(leaves)
    # Each success is drawn in 2/3 of the runs, each failure in 1/3; 1 cut in 6 keeps nothing and hides the draw.
    assert all(drawn[leaf] == pytest.approx(200 * 2 / 3 * 5 / 6, abs=30) for leaf in (0, 2, 5))
    assert all(drawn[leaf] == pytest.approx(200 * 1 / 3 * 5 / 6, abs=30) for leaf in (1, 3, 4))


@pytest.mark.parametrize(("threshold", "won"), [(1.0, 1), (0.5, 2), (0.25, 2), (1.5, 0)])
def test_the_threshold_divides_the_pools(threshold: float, won: int) -> None:
    forest, _ = driven(Replay(4, 4, 0, threshold), scripted([1.0, 0.5, 0.0, 0.0]))
    assert len(forest) == 1 + won


def test_failed_verdicts_are_never_replayed() -> None:
    forest, _ = driven(Replay(4, 4, 4), scripted([None] * 4))
    assert len(forest) == 1


def test_cuts_are_uniform_from_nothing_kept_to_one_token_left() -> None:
    length, runs = 6, 600
    cuts = [
        len(tree.kept_ids)
        for seed in range(runs)
        for tree in driven(Replay(2, 1, 1), scripted([1.0, 0.0], length), Key.of(seed))[0][1:]
    ]
    counts = np.bincount(cuts, minlength=length)
    assert len(counts) == length
    assert stats.chisquare(counts).pvalue > 0.01


def test_cuts_of_successes_and_failures_are_independent() -> None:
    pairs = []
    for seed in range(600):
        forest, _ = driven(Replay(2, 1, 1), scripted([1.0, 0.0]), Key.of(seed))
        pairs.append([len(tree.kept_ids) for tree in forest[1:]])
    # Standard deviation of a correlation of 600 independent pairs: 1/sqrt(600) = 0.041.
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 4 * 0.041


def test_draws_of_successes_and_failures_are_independent() -> None:
    """Two of each: all four pairs are drawn equally often (where a cut keeps the token that tells the completion)."""
    pairs = Counter[tuple[int, ...]]()
    for seed in range(800):
        forest, _ = driven(Replay(4, 1, 1), scripted([1.0, 0.0, 1.0, 0.0]), Key.of(seed))
        if all(len(tree.kept_ids) for tree in forest[1:]):
            pairs[tuple(int(tree.kept_ids[0]) for tree in forest[1:])] += 1
    assert len(pairs) == 4
    assert stats.chisquare(list(pairs.values())).pvalue > 0.01


@given(KEYS, st.integers(0, 100))
def test_roots_are_a_function_of_key_and_first_group(key: Key, seed: int) -> None:
    runs = [driven(Replay(5, 2, 2), rambler, key, seed)[0] for _ in range(2)]
    assert _contents(runs[0]) == _contents(runs[1])


def test_another_key_cuts_elsewhere() -> None:
    kept = {
        tuple(len(tree.kept_ids) for tree in driven(Replay(4, 2, 2), scripted([1.0, 1.0, 0.0, 0.0]), Key.of(seed))[0])
        for seed in range(10)
    }
    assert len(kept) > 5


def test_a_larger_budget_of_failures_leaves_the_successes() -> None:
    rewards = [1.0, 1.0, 0.0, 0.0]
    few, _ = driven(Replay(4, 2, 0), scripted(rewards))
    many, _ = driven(Replay(4, 2, 2), scripted(rewards))
    assert [tree.kept_ids.tolist() for tree in few] == [tree.kept_ids.tolist() for tree in many[:3]]


def test_without_budgets_it_is_a_group() -> None:
    replay, group = driven(Replay(5, 0, 0), rambler), driven(Group(5), rambler)
    assert _contents(replay[0]) == _contents(group[0])
    assert [growth.forks for growth in replay[1]] == [growth.forks for growth in group[1]]
    assert Replay(5, 0, 0).max_completions == 5


def _contents(forest: Forest) -> list[object]:
    return [(tree.kept_ids.tolist(), [tree.completion(leaf).tolist() for leaf in tree.leaves]) for tree in forest]


@given(KEYS, st.integers(0, 100))
def test_replayed_credit_falls_on_sampled_tokens_only(key: Key, seed: int) -> None:
    """Gains exist for the tokens after the cut, and no kept token belongs to a branch."""
    forest, _ = driven(Replay(5, 2, 2), rambler, key, seed)
    for tree in forest[1:]:
        gains = PrefixGain().assign(tree)
        for leaf, completion in zip(tree.rewarded, judged_completions(tree), strict=True):
            values = gains[leaf]
            assert values is not None
            assert len(values) == len(completion)
            assert tree.context(None, 0).tolist() == [*root().prompt_ids.tolist(), *tree.kept_ids.tolist()]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group": 1}, "group is 1"),
        ({"successes": -1}, "successes is -1"),
        ({"failures": -2}, "failures is -2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Replay(**settings)
