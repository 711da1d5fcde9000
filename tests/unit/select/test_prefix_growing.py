"""PPPO: a share of each completion, from its start, that grows from the first training step to the last."""

import numpy as np
import pytest

from creditree.credit.group_relative import GroupRelative
from creditree.select.everything import Everything
from creditree.select.prefix_growing import PrefixGrowing
from tests.forests import KEY, assigned, flat

FOREST = (flat([[2, 3, 4, 5, 1], [3, 1]], [1.0, 0.0]),)
ADVANTAGES = (GroupRelative().assign(FOREST[0]),)


def _weights(select: PrefixGrowing | Everything) -> list[list[float]]:
    return [assigned(values).tolist() for values in select.weigh(FOREST, ADVANTAGES, KEY)[0]]


def test_golden_shares_by_step() -> None:
    # 0.2 to 1 over 5 steps: 0.2, 0.4, ..., 1. At step 1, lengths 5 and 2 keep ceil(2) = 2 and ceil(0.8) = 1; G = 2.
    select = PrefixGrowing(0.2, 1.0)
    assert [select.at_progress(step / 4).share for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert _weights(select.at_progress(0.25)) == [[1 / 4, 1 / 4, 0, 0, 0], [1 / 2, 0]]


def test_a_share_of_all_is_everything_to_the_bit() -> None:
    assert _weights(PrefixGrowing(1.0, 1.0)) == _weights(Everything())
    assert _weights(PrefixGrowing(0.2, 1.0).at_progress(1.0)) == _weights(Everything())


def test_what_lies_after_the_largest_share_is_not_planned_for() -> None:
    learned = PrefixGrowing(0.1, 0.5).demand(64)
    assert (learned.learns, learned.reach.at_most if learned.reach else None) == ("early", 32)
    assert learned.terms(1, 8, 64) == 8 * 32


def test_at_least_one_token_learns() -> None:
    assert all(np.count_nonzero(values) == 1 for values in _weights(PrefixGrowing(0.01, 0.01)))
