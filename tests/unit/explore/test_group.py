"""A flat group is sampled once, from the prompt."""

import pytest

from creditree.errors import ConfigError
from creditree.explore.base import Fork
from creditree.explore.group import Group
from tests.forests import driven, rambler


@pytest.mark.parametrize("size", [2, 8, 50])
def test_one_fork_at_the_root(size: int) -> None:
    (tree,), growths = driven(Group(size), rambler)
    assert [growth.forks for growth in growths] == [(Fork(0, None, 0, size),)]
    assert len(tree.branches) == Group(size).max_completions == size
    assert all(held.parent is None and held.fork == 0 for held in tree.branches)


@pytest.mark.parametrize("size", [1, 0, -3])
def test_a_group_that_cannot_be_compared_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"group is {size}.*at least 2"):
        Group(size)
