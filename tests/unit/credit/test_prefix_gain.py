"""Prefix gains against arithmetic by hand."""

import numpy as np
import pytest

from creditree.credit.prefix_gain import PrefixGain
from tests.forests import assigned, branch, flat, root


def test_golden() -> None:
    # 2 3 1 (R 1), 2 4 1 (R 0), 2 3 1 (R 1), 4 1 (R 0): V() = 2/4, V(2) = 2/3, V(23) = 1, V(24) = 0, V(4) = 0.
    # Gains: 2: 2/3 - 1/2 = 1/6;  3 after 2: 1 - 2/3 = 1/3;  4 after 2: -2/3;  4: -1/2;  single continuations: 0.
    field = PrefixGain().assign(flat([[2, 3, 1], [2, 4, 1], [2, 3, 1], [4, 1]], [1.0, 0.0, 1.0, 0.0]))
    assert assigned(field[0]) == pytest.approx([1 / 6, 1 / 3, 0.0], abs=1e-15)
    assert assigned(field[1]) == pytest.approx([1 / 6, -2 / 3, 0.0], abs=1e-15)
    assert assigned(field[2]).tolist() == assigned(field[0]).tolist()
    assert assigned(field[3]) == pytest.approx([-1 / 2, 0.0], abs=1e-15)


def test_the_baseline_counts_completions_not_next_tokens() -> None:
    # Three times 2 1 (R 1) and once 3 1 (R 0): V() = 3/4, while the mean over the two next tokens would be 1/2.
    field = PrefixGain().assign(flat([[2, 1], [2, 1], [2, 1], [3, 1]], [1.0, 1.0, 1.0, 0.0]))
    assert assigned(field[0]).tolist() == [0.25, 0.0]
    assert assigned(field[3]).tolist() == [-0.75, 0.0]


def test_failed_verdicts_neither_get_nor_give_credit() -> None:
    # Without the failed one: V() = 1/2, V(2) = 1.
    field = PrefixGain().assign(flat([[2, 1], [2, 4, 1], [3, 1]], [1.0, None, 0.0]))
    assert assigned(field[0]).tolist() == [0.5, 0.0]
    assert field[1] is None
    assert assigned(field[2]).tolist() == [-0.5, 0.0]


def test_all_verdicts_failed() -> None:
    assert PrefixGain().assign(flat([[2, 1], [3, 1]], [None, None])) == (None, None)


def test_a_completion_that_ends_inside_another_shares_its_prefix() -> None:
    # 2 3 (R 0, stopped by length), 2 3 1 (R 1): V() = V(2) = V(23) = 1/2, V(231) = 1.
    field = PrefixGain().assign(flat([[2, 3], [2, 3, 1]], [0.0, 1.0]))
    assert assigned(field[0]).tolist() == [0.0, 0.0]
    assert assigned(field[1]).tolist() == [0.0, 0.0, 0.5]


def test_kept_tokens_of_a_replay_root_change_nothing() -> None:
    completions, rewards = [[2, 1], [3, 1], [2, 4, 1]], [1.0, 0.0, 0.0]
    plain, replayed = (PrefixGain().assign(flat(completions, rewards, kept)) for kept in ((), (3, 3)))
    assert all(np.array_equal(assigned(a), assigned(b)) for a, b in zip(plain, replayed, strict=True))


def test_on_a_grown_tree_branches_share_the_gain_of_their_shared_tokens() -> None:
    # 2 3 1 (R 1) and a branch after its first token, 2 4 1 (R 0): V() = V(2) = 1/2, V(23) = 1, V(24) = 0.
    field = PrefixGain().assign(root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.0, 0, 1)))
    assert assigned(field[0]).tolist() == [0.0, 0.5, 0.0]
    assert assigned(field[1]).tolist() == [-0.5, 0.0]
