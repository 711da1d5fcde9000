"""Prefix sampling: which completions, and how much of them is kept."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.explore.group import Group
from creditree.explore.prefix_sampling import PrefixSampling, kept_share
from creditree.rng import Key
from tests.forests import Writer, driven, rambler

RIGHT, WRONG = [2, 2, 2, 2, 2, 2, 2, 1], [3, 3, 3, 3, 3, 3, 3, 1]


def scripted(right: int) -> Writer:
    """Return a writer whose first `right` completions are right, and the others wrong."""
    count = 0

    def write(kept: Sequence[int], rng: np.random.Generator) -> tuple[list[int], float]:
        nonlocal count
        count += 1
        return (RIGHT, 1.0) if count <= right else (WRONG, 0.0)

    return write


@pytest.mark.parametrize(
    ("right", "kept"),
    [
        (1, [2, 2, 2]),  # p = 1/4: f = (1/2 - 1/4) / (3/4) = 1/3 of 8 tokens: 2.67, rounded down to 2
        (3, [3, 3]),  # p = 3/4: f = 1 - (1/2) / (3/4) = 1/3 of a wrong one
        (2, None),  # p = 1/2 already
        (0, None),  # nothing right to start from
        (4, None),  # nothing wrong to start from
    ],
)
def test_golden_prefixes(right: int, kept: list[int] | None) -> None:
    forest, _ = driven(PrefixSampling(4), scripted(right))
    assert [tree.kept_ids.tolist() for tree in forest[1:]] == ([] if kept is None else [kept[:2]])
    assert all(len(tree.branches) == 4 for tree in forest)


@given(st.floats(0, 1), st.floats(0.01, 0.99))
def test_the_share_leads_to_the_target_where_pass_rates_are_linear(passed: float, target: float) -> None:
    share = kept_share(passed, target)
    assert 0.0 <= share < 1.0 + 1e-12
    end = 1.0 if passed < target else 0.0  # of a whole right completion, or a wrong one
    assert passed + (end - passed) * share == pytest.approx(target)


@given(st.integers(0, 2**32).map(Key.of), st.integers(1, 4), st.integers(0, 200))
def test_prefixes_are_of_the_rarer_kind_and_leave_a_token(key: Key, replays: int, seed: int) -> None:
    explorer = PrefixSampling(5, replays)
    forest, growths = driven(explorer, rambler, key, seed)
    first = forest[0]
    passed = float(np.mean(first.rewards(first.leaves)))
    for tree in forest[1:]:
        kept = tree.kept_ids.tolist()
        sources = [leaf for leaf in first.leaves if first.completion(leaf).tolist()[: len(kept)] == kept]
        assert any(
            first.branches[leaf].end > len(kept) and (first.branches[leaf].reward == 1.0) == (passed < 0.5)
            for leaf in sources
        )
    assert len(growths) <= 2
    assert sum(len(tree.branches) for tree in forest) <= explorer.max_completions


@given(st.integers(0, 200))
def test_where_the_pass_rate_is_the_target_it_is_a_group(seed: int) -> None:
    group, _ = driven(Group(4), scripted(2), seed=seed)
    ours, _ = driven(PrefixSampling(4), scripted(2), seed=seed)
    assert [b.token_ids.tolist() for b in ours[0].branches] == [b.token_ids.tolist() for b in group[0].branches]
    assert len(ours) == len(group) == 1
