"""Bisection: each point lies in the middle of the longest run without a fork."""

from creditree.explore.branching import nodes_below
from creditree.explore.midpoint import Midpoint
from tests.forests import KEY, branch, root


def test_golden_points_of_one_chain() -> None:
    # 8 tokens: 4, then of [0, 4) and [4, 8) the earlier, 2, then 6; a run of two has its second token
    tree = root().grown(branch([2, 3, 4, 5, 2, 3, 4, 1], 1.0))
    (nodes,) = nodes_below(tree).values()
    assert Midpoint(points=1).choose(tree, nodes, KEY) == [(0, 4)]
    assert Midpoint(points=3).choose(tree, nodes, KEY) == [(0, 2), (0, 4), (0, 6)]
    assert len(Midpoint(points=20).choose(tree, nodes, KEY)) == 7  # every token but the first


def test_a_later_round_looks_at_what_was_forked_before() -> None:
    # forked at 4: runs [0, 4) and [4, 8) of the chain, and the new branch's own [4, 7)
    tree = root().grown(branch([2, 3, 4, 5, 2, 3, 4, 1], 1.0), branch([5, 5, 1], 0.0, 0, 4))
    (nodes,) = nodes_below(tree).values()
    assert Midpoint(points=3).choose(tree, nodes, KEY) == [(0, 2), (0, 6), (1, 5)]


def test_a_completion_of_one_token_is_not_forked() -> None:
    tree = root().grown(branch([1], 1.0))
    (nodes,) = nodes_below(tree).values()
    assert Midpoint(points=2).choose(tree, nodes, KEY) == []


def test_all_points_are_open() -> None:
    tree = root().grown(branch([2, 3, 4, 5, 2, 3, 4, 1], 1.0), branch([5, 5, 1], 0.0, 0, 4))
    (nodes,) = nodes_below(tree).values()
    of = {node.branch: node for node in nodes}
    points = Midpoint(points=20).choose(tree, nodes, KEY)
    assert len(set(points)) == 8  # 1 to 7 of the chain but 4, and two of the branch's three tokens
    assert all(of[index].is_open(at) for index, at in points)
