"""Replay from steps of high influence."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import ConfigError
from creditree.explore.attention_replay import AttentionReplay
from creditree.explore.branches import influential_steps
from creditree.explore.replay import Replay
from creditree.rng import Key
from creditree.signals import Signals
from creditree.steps import Separators, split_steps
from tests.forests import branch, driven, rambler, root

STEPS = Separators((frozenset({2}),))
SEPARATORS = replace(STEPS, think_end=(4, 4))


def test_golden_influential_steps() -> None:
    # The first counts as 0: sorted 0 .1 .1 .5 .6; the .6 quantile at rank 2.4 is .1 + .4 * .4 = .26.
    scores = np.array([0.9, 0.5, 0.1, 0.6, 0.1])
    assert influential_steps(scores, 0.6).tolist() == [1, 3]
    # From the step 3 on: 0 0 0 .1 .5, rank 2.4 is .04.
    assert influential_steps(scores, 0.6, think_step=3).tolist() == [1, 2]
    # All 0: no step is better than another, but the first is none.
    assert influential_steps(np.zeros(3), 0.8).tolist() == [1, 2]
    assert influential_steps(np.array([0.7]), 0.8).tolist() == []


def test_golden_cuts_lie_evenly_at_the_influential_steps() -> None:
    # Steps of 2 tokens; candidates are the steps 1 and 3, whose first tokens have offsets 2 and 6.
    influence = np.repeat([0.9, 0.5, 0.1, 0.6, 0.1], 2)
    tree = root().grown(replace(branch([3, 2] * 5), influence=influence))
    rule = AttentionReplay(4, quantile=0.6, delta=1, separators=SEPARATORS)
    cuts = Counter(rule.cut(tree, 0, Key.of(seed)) for seed in range(400))
    assert set(cuts) == {2, 6}
    assert abs(cuts[2] - 200) < 4 * 10  # binomial: standard deviation sqrt(400 / 4) = 10


def test_one_step_is_cut_anywhere() -> None:
    tree = root().grown(replace(branch([3, 3, 3, 2]), influence=np.zeros(4)))
    rule, plain = AttentionReplay(4, separators=SEPARATORS), Replay(4)
    cuts = [rule.cut(tree, 0, Key.of(seed)) for seed in range(50)]
    assert cuts == [plain.cut(tree, 0, Key.of(seed)) for seed in range(50)]
    assert set(cuts) == {0, 1, 2, 3}


def test_a_missing_influence_is_told() -> None:
    with pytest.raises(ValueError, match="the engine gave none"):
        AttentionReplay(4, separators=SEPARATORS).cut(root().grown(branch([3, 2, 3, 1])), 0, Key.of(0))


@given(st.integers(0, 2**32).map(Key.of), st.integers(0, 100))
def test_roots_end_where_a_step_begins(key: Key, seed: int) -> None:
    explorer = AttentionReplay(5, 2, 2, delta=1).fitted(STEPS)
    forest, growths = driven(explorer, rambler, key, seed)
    assert growths[0].forks[0].signals == explorer.signals != Signals()
    assert all(fork.signals == Signals() for growth in growths[1:] for fork in growth.forks)
    for tree in forest[1:]:
        kept = tree.kept_ids.tolist()
        sources = [leaf for leaf in forest[0].leaves if forest[0].completion(leaf).tolist()[: len(kept)] == kept]
        starts = [[start for start, _ in split_steps(forest[0].completion(leaf), STEPS)] for leaf in sources]
        assert any(len(kept) in own[1:] or len(own) == 1 for own in starts)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group": 1}, "group is 1"),
        ({"quantile": 1.5}, "quantile is 1.5"),
        ({"delta": 0}, "delta is 0"),
        ({"influence_layers": ()}, "influence_layers is empty"),
        ({"influence_source": "guess"}, "influence_source is 'guess'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        AttentionReplay(**settings)
