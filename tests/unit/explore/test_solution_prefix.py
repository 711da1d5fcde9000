"""Solution prefixes: how much is given, how that moves, and that it is withdrawn."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.explore.base import ExplorerState, Fork
from creditree.explore.group import Group
from creditree.explore.solution_prefix import SolutionPrefix
from creditree.tree import Forest, RolloutTree, token_array
from tests.forests import KEY, flat, root

SOLUTION = [5, 6, 5, 6, 5, 6, 5]


def _root(solution: Sequence[int] = SOLUTION) -> RolloutTree:
    return replace(root(), solution_ids=token_array(solution))


def _given(explorer: SolutionPrefix, solution: Sequence[int] = SOLUTION) -> list[int]:
    growth = next(explorer.grow(_root(solution), KEY))
    assert growth.forks == (Fork(0, None, 0, explorer.group),)
    (tree,) = growth.forest
    return [int(token) for token in tree.kept_ids]


def _solved(*shares: float) -> list[Forest]:
    """Return a forest for each share of four completions that are right."""
    return [(flat([[2, 1]] * 4, [float(place < 4 * share) for place in range(4)]),) for share in shares]


@pytest.mark.parametrize(
    ("share", "given"),
    [
        (0.5, [5, 6, 5]),  # 3.5 tokens of 7, rounded down
        (0.0, []),
        (0.14, []),
        (1 / 7, [5]),
        (0.9, [5, 6, 5, 6, 5, 6]),  # 6.3
    ],
)
def test_golden_prefixes(share: float, given: list[int]) -> None:
    assert _given(SolutionPrefix(4).at_state({"share": share, "steps": 3})) == given


def test_a_fresh_one_gives_the_first_share() -> None:
    assert _given(SolutionPrefix(4)) == _given(SolutionPrefix(4).at_state(SolutionPrefix(4).start())) == [5, 6, 5]
    assert _given(SolutionPrefix(4), []) == []


def test_golden_moves() -> None:
    # 0.5 + 0.1 (0.5 - 0) = 0.55; then the mean of 1 and 0.5 is solved: 0.55 + 0.1 (0.5 - 0.75) = 0.525
    explorer, state = SolutionPrefix(4, speed=0.1), SolutionPrefix(4).start()
    state = explorer.after(_solved(0.0), state)
    assert state == {"share": pytest.approx(0.55), "steps": 1}
    state = explorer.after(_solved(1.0, 0.5), state)
    assert state == {"share": pytest.approx(0.525), "steps": 2}
    # half solved: it stays; nothing judged: it stays as well
    assert explorer.after(_solved(0.5), state)["share"] == state["share"]
    assert explorer.after([(flat([[2, 1]], [None]),)], state) == {"share": state["share"], "steps": 3}


def test_it_is_bounded_and_withdrawn_for_good() -> None:
    explorer = SolutionPrefix(4, speed=2.0)
    assert explorer.after(_solved(0.0), explorer.start())["share"] == 0.9
    gone = explorer.after(_solved(1.0), explorer.start())
    assert gone["share"] == 0.0
    assert explorer.after(_solved(0.0), gone)["share"] == 0.0


def test_it_may_be_withdrawn_by_steps() -> None:
    # of at most 0.9: after 1 of 3 steps 0.6, after 2 steps 0.3, after 3 nothing
    explorer = SolutionPrefix(4, withdraw=3)
    state, shares = explorer.start(), []
    for _ in range(4):
        state = explorer.after(_solved(0.0), state)
        shares.append(state["share"])
    assert shares == pytest.approx([0.55, 0.3, 0.0, 0.0])


def test_without_a_first_share_it_is_a_group() -> None:
    explorer = SolutionPrefix(4, prefix_first=0.0)
    state = explorer.after(_solved(0.0), explorer.start())
    assert state["share"] == 0.0
    ours, group = next(explorer.at_state(state).grow(_root(), KEY)), next(Group(4).grow(_root(), KEY))
    assert ours.forks == group.forks
    assert ours.forest[0].root_ids.tolist() == group.forest[0].root_ids.tolist()


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=20), st.integers(0, 20))
def test_what_it_remembers_is_json_and_goes_on_alike(shares: list[float], cut: int) -> None:
    explorer = SolutionPrefix(4)

    def go(state: ExplorerState, left: Sequence[float]) -> ExplorerState:
        for share in left:
            state = explorer.after(_solved(share), state)
            assert 0.0 <= state["share"] <= 0.9
        return state

    whole = go(explorer.start(), shares)
    assert go(json.loads(json.dumps(go(explorer.start(), shares[:cut]))), shares[cut:]) == whole
