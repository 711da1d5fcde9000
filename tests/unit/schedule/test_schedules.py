"""Schedules: which problems are drawn, expanded and trained on; what they remember."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit import process_value
from creditree.errors import ConfigError
from creditree.explore.attention import Attention
from creditree.fields import ZERO
from creditree.schedule.adaptive import Adaptive
from creditree.schedule.base import Schedule
from creditree.schedule.dynamic import Dynamic
from creditree.schedule.fixed import Fixed
from creditree.steps import Separators
from creditree.tree import Forest, RolloutTree
from tests.forests import branch, flat, grown_trees, root

SEPARATORS = Separators((frozenset({2}),))
SCHEDULES: tuple[Schedule, ...] = (Fixed(), Adaptive(), Dynamic())
EVERY = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)


def problem(*rewards: float | None, influence: float | None = 0.0) -> Forest:
    """Return a first round: completions of two steps "3 2 | 3 1", the second with this influence, the first with 9."""
    branches = [branch([3, 2, 3, 1], reward) for reward in rewards]
    if influence is not None:
        branches = [replace(one, influence=np.array([9.0, 9.0, influence, influence])) for one in branches]
    return (root().grown(*branches),)


def test_the_longest_completion_is_that_of_the_longest_stage_that_is_reached() -> None:
    staged = Fixed(stages=((2, 50), (5, 200), (8, 100)))
    assert [staged.longest(steps, 64) for steps in (2, 3, 6, 1_000_000)] == [64, 64, 200, 200]
    assert Fixed(stages=((0, 8), (4, 16))).longest(9, 4) == 16

    class Growing(Fixed):
        def max_new_tokens(self, step: int, configured: int) -> int:
            return configured + step

    assert Growing().longest(10, 64) == 73


@EVERY
def test_stages_give_the_length_by_step(schedule: Schedule) -> None:
    staged = replace(schedule, stages=((0, 8192), (1040, 16384), (1520, 24576)))
    found = [staged.max_new_tokens(step, 100) for step in (0, 1039, 1040, 1519, 1520, 1749)]
    assert found == [8192, 8192, 16384, 16384, 24576, 24576]
    assert schedule.max_new_tokens(7, 100) == 100
    late = replace(schedule, stages=((5, 200),))
    assert [late.max_new_tokens(step, 100) for step in (4, 5)] == [100, 200]


@EVERY
def test_a_state_survives_json(schedule: Schedule) -> None:
    forests = [problem(1.0, 1.0, influence=0.3), problem(1.0, 0.0), problem(1.0, 1.0, influence=0.1)]
    fitted = schedule.fitted(SEPARATORS)
    state, resumed = fitted.start(8), fitted.start(8)
    for rows in (100, 3, 0, 240):
        flags, state = fitted.expands(forests, state)
        flags_too, resumed = fitted.expands(forests, json.loads(json.dumps(resumed)))
        state, resumed = fitted.after(state, rows), fitted.after(json.loads(json.dumps(resumed)), rows)
        assert flags == flags_too
        assert fitted.num_problems(state) == fitted.num_problems(resumed)
    assert state == resumed


@EVERY
def test_states_handed_in_are_left_alone(schedule: Schedule) -> None:
    start = schedule.start(8)
    before = dict(start)
    schedule.fitted(SEPARATORS).expands([problem(1.0, 1.0)], start)
    schedule.after(start, 3)
    assert start == before


def test_fixed_keeps_everything() -> None:
    forests = [problem(1.0, 1.0), problem(0.0, 0.0), problem(None, None)]
    schedule = Fixed()
    state = schedule.start(5)
    assert schedule.expands(forests, state) == ([True] * 3, state)
    assert schedule.trains(forests) == [True] * 3
    assert schedule.num_problems(schedule.after(state, 0)) == 5
    assert schedule.missing(0, 5, state) == 0
    assert not schedule.off_policy
    assert Fixed(off_policy=True).off_policy


def test_golden_running_mean_includes_the_batch_at_hand() -> None:
    # Mean influence of a completion of two steps: (0 + y)/2. All-correct: .2 .4 .3, so .1 .2 .15: mean .15; then .16
    # and .05: sum .45 + .21 = .66 over 5 = .132.
    schedule = Adaptive(separators=SEPARATORS)
    first = [problem(1, 1, influence=0.2), problem(1, 0, influence=9), problem(1, 1, influence=0.4)]
    first += [problem(0, 0, influence=0), problem(1, 1, influence=0.3)]
    flags, state = schedule.expands(first, schedule.start(5))
    assert flags == [False, True, True, True, False]  # .15 is not above .15
    assert state["influence_mean"] == pytest.approx(0.15, abs=1e-12)
    assert (state["all_correct"], state["filtered"], state["expanded"]) == (3, 2, 3)
    flags, state = schedule.expands([problem(1, 1, influence=0.32), problem(1, 1, influence=0.1)], state)
    assert flags == [True, False]
    assert state["influence_mean"] == pytest.approx(0.132, abs=1e-12)
    assert state["influence_count"] == 5


def test_the_first_easy_problem_is_its_own_mean_and_not_above_it() -> None:
    schedule = Adaptive(separators=SEPARATORS)
    assert schedule.expands([problem(1, 1, influence=0.3)], schedule.start(1))[0] == [False]


def test_golden_moving_mean() -> None:
    # First .1; then .9 * .1 + .1 * .2 = .11.
    schedule = Adaptive(influence_decay=0.9, separators=SEPARATORS)
    _, state = schedule.expands([problem(1, 1, influence=0.2), problem(1, 1, influence=0.4)], schedule.start(2))
    assert state["influence_mean"] == pytest.approx(0.11, abs=1e-12)


def test_other_filters_of_easy_problems_need_no_influence() -> None:
    forests = [problem(1, 1, influence=None), problem(1, 0, influence=None), problem(None, 1, influence=None)]
    state = Adaptive().start(3)
    assert Adaptive(easy_filter="hard").expands(forests, state)[0] == [False, True, False]
    assert Adaptive(easy_filter="none").expands(forests, state)[0] == [True, True, True]
    with pytest.raises(ConfigError, match=r"method.easy_filter 'influence'.*use explore: attention"):
        Adaptive().expands(forests, state)
    assert Adaptive(easy_filter="hard", threshold=2.0).expands(forests, state)[0] == [True, True, True]


def test_problems_are_told_apart_by_their_forests() -> None:
    """The same problem, drawn twice, is judged twice."""
    forests = [problem(1.0, 1.0), problem(1.0, 0.0)]
    assert forests[0][0].problem == forests[1][0].problem
    assert Adaptive().trains(forests) == Dynamic().trains(forests) == [False, True]


def test_only_completions_that_are_trained_on_count_where_asked() -> None:
    # Chain 0 and its branch are right; chain 1, which nothing forks from, is wrong.
    tree = root().grown(branch([2, 2, 1], 1.0), branch([3, 1], 0.0), branch([4, 1], 1.0, 0, 1))
    assert Adaptive().trains([(tree,)]) == [False]
    assert Adaptive(zero_filter="all").trains([(tree,)]) == [True]
    assert Adaptive(zero_filter="none").trains([problem(1.0, 1.0)]) == [True]
    assert Adaptive().trains([(flat([[2, 1], [3, 1]], [1.0, 0.0]),)]) == [True]  # nothing was forked: all count


@given(grown_trees(failures=True))
def test_a_problem_is_dropped_iff_no_token_has_an_advantage(tree: RolloutTree) -> None:
    field = process_value(tree, unexpanded="keep")
    signal = any(bool((np.abs(values) > ZERO).any()) for values in field if values is not None)
    assert Adaptive(zero_filter="all").trains([(tree,)]) == Dynamic().trains([(tree,)])
    if not Dynamic().trains([(tree,)])[0]:
        assert not signal
    elif len(tree.forked) == 0:
        assert signal


def test_golden_adaptive_batch() -> None:
    # Target 8 * 30 = 240. 120 rows left: floor(8 * 2) = 16; 7.2 + 1.6 = 8.8, up.
    schedule = Adaptive()
    state = schedule.after(schedule.start(8, 30), 120)
    assert (schedule.num_problems(state), state["rows"], state["target"]) == (9, 120, 240)
    assert schedule.num_problems(schedule.after(state, 0)) == 9  # no row, no ratio
    # Without bounds, 1 row: 8.1 + .1 * 9 * 240 = 224.1, up. With them 4 and 32.
    assert schedule.num_problems(schedule.after(state, 1)) == 225
    bounded = Adaptive(batch_least=0.5, batch_most=4.0)
    state = bounded.after(state, 1)
    assert bounded.num_problems(state) == 32
    for _ in range(60):
        state = bounded.after(state, 10_000)
    assert bounded.num_problems(state) == 9  # .9 * 9 = 8.1, up
    assert bounded.num_problems(bounded.after(bounded.start(8, 30) | {"problems": 3}, 240)) == 4
    fixed = Adaptive(batch_decay=1.0)
    assert fixed.num_problems(fixed.after(fixed.start(8, 30), 1)) == 8


def test_the_rows_that_are_wanted_follow_the_trees_shape() -> None:
    """M (1 + N L T) leaves of a tree: 6 * 5 for (6, 2, 1, 2), 4 * 10 for (4, 3, 1, 3)."""
    assert Adaptive().start(8, Attention(6, 2, 1, 2).max_completions)["target"] == 240
    assert Adaptive().start(8, Attention(4, 3, 1, 3).max_completions)["target"] == 320
    assert Adaptive(rows_per_problem=7).start(8, 40)["target"] == 56


def test_golden_dynamic_sampling() -> None:
    # 8 wanted. 2 of 8 were of use: 6 more at that rate are 24, and 24 are left up to 4 * 8. Then 6 of 24: 2 more, 8.
    schedule = Dynamic()
    state = schedule.start(8)
    assert schedule.num_problems(state) == 8
    assert schedule.missing(2, 8, state) == 24
    assert schedule.missing(6, 24, state) == 8
    assert schedule.missing(7, 31, state) == 1
    assert schedule.missing(0, 8, state) == 8
    assert schedule.missing(8, 16, state) == schedule.missing(9, 16, state) == 0
    assert schedule.missing(3, 32, state) == 0
    assert not schedule.off_policy


@given(st.integers(1, 50), st.integers(0, 2**16), st.floats(0, 1), st.floats(1, 6))
def test_dynamic_sampling_ends_within_its_limit(wanted: int, seed: int, share: float, limit: float) -> None:
    schedule, rng = Dynamic(draw_limit=limit), np.random.default_rng(seed)
    state = schedule.start(wanted)
    drawn, trained = wanted, int(rng.binomial(wanted, share))
    while more := schedule.missing(trained, drawn, state):
        assert more > 0
        drawn, trained = drawn + more, trained + int(rng.binomial(more, share))
    assert drawn <= max(wanted, limit * wanted)
    assert trained >= wanted or drawn == int(limit * wanted)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (Fixed, {"stages": ((0, 0),)}, "method.stages is .*tokens 1 or more"),
        (Fixed, {"stages": ((-1, 5),)}, "method.stages"),
        (Adaptive, {"stages": ((5, 10), (5, 20))}, "method.stages.*later step"),
        (Dynamic, {"stages": ((5, 10), (4, 20))}, "method.stages.*later step"),
        (Dynamic, {"draw_limit": 0.5}, "method.draw_limit is 0.5"),
        (Adaptive, {"easy_filter": "soft"}, "method.easy_filter is 'soft'"),
        (Adaptive, {"zero_filter": "some"}, "method.zero_filter is 'some'"),
        (Adaptive, {"batch_rounding": "cel"}, "method.batch_rounding.*Did you mean 'ceil'"),
        (Adaptive, {"rows_per_problem": 0}, "method.rows_per_problem is 0"),
        (Adaptive, {"batch_decay": 1.1}, "method.batch_decay is 1.1"),
        (Adaptive, {"influence_decay": 1.0}, "method.influence_decay is 1.0"),
        (Adaptive, {"batch_least": 0.0}, "method.batch_least is 0.0"),
        (Adaptive, {"batch_most": 0.9}, "method.batch_most is 0.9"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type[Fixed], settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        kind(**settings)  # type: ignore[arg-type]
