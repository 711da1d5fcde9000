"""Pools of difficulty: which problems rest, for how long, and that a run without rest is a fixed one."""

import json
from dataclasses import replace

from creditree.problem import Problem
from creditree.schedule.base import ScheduleState
from creditree.schedule.fixed import Fixed
from creditree.schedule.pools import Pools
from creditree.tree import Forest
from tests.forests import flat


def _forest(name: str, rewards: list[float]) -> Forest:
    tree = flat([[2 + i, 1] for i in range(len(rewards))], rewards)
    return (replace(tree, problem=Problem(name, "", ())),)


def _taken(pools: Pools, name: str, state: ScheduleState, count: int) -> tuple[list[bool], ScheduleState]:
    found = []
    for _ in range(count):
        takes, state = pools.takes(Problem(name, "", ()), state)
        found.append(takes)
    return found, state


def test_golden_pools() -> None:
    pools = Pools(rest=2)
    forests = [_forest("always", [1.0, 1.0]), _forest("never", [0.0, 0.0]), _forest("mixed", [1.0, 0.0])]
    goes_on, state = pools.expands(forests, pools.start(3))
    assert goes_on == [True] * 3
    assert state["pools"] == {"always": [1.0, 2], "never": [0.0, 2], "mixed": [0.5, 0]}
    assert _taken(pools, "always", state, 3)[0] == [False, False, True]
    assert _taken(pools, "never", state, 3)[0] == [False, False, True]
    assert _taken(pools, "mixed", state, 3)[0] == [True] * 3
    assert _taken(pools, "new", state, 1)[0] == [True]


def test_the_pass_rate_runs() -> None:
    # 1, then 0 of 2: (1 + 0) / 2 = 0.5, so it rests no more; then 1 of 1 twice: 0.75, 0.875, below 1
    pools = Pools(rest=2)
    _, state = pools.expands([_forest("a", [1.0, 1.0])], pools.start(1))
    _, state = pools.expands([_forest("a", [0.0, 0.0])], state)
    assert state["pools"]["a"] == [0.5, 0]
    for _ in range(2):
        _, state = pools.expands([_forest("a", [1.0])], state)
    assert state["pools"]["a"] == [0.875, 0]
    assert Pools(easy=0.8, rest=2).expands([_forest("a", [1.0])], state)[1]["pools"]["a"] == [0.9375, 2]


def test_the_state_is_json_and_its_forms_go_on_alike() -> None:
    pools = Pools(rest=2)
    _, state = pools.expands([_forest("a", [1.0, 1.0])], pools.start(1))
    assert _taken(pools, "a", json.loads(json.dumps(state)), 4) == _taken(pools, "a", state, 4)


def test_without_rest_it_is_fixed() -> None:
    pools, fixed = Pools(rest=0), Fixed()
    forests = [_forest("a", [1.0, 1.0]), _forest("b", [0.0])]
    goes_on, state = pools.expands(forests, pools.start(2))
    assert goes_on == fixed.expands(forests, fixed.start(2))[0]
    assert all(pools.takes(Problem(name, "", ()), state)[0] for name in "ab")
    assert pools.num_problems(state) == fixed.num_problems(fixed.start(2)) == 2
    assert pools.demand(2) == fixed.demand(2)


def test_unjudged_completions_say_nothing() -> None:
    tree = flat([[2, 1]], [None])
    assert Pools().expands([(tree,)], Pools().start(1))[1]["pools"] == {}
