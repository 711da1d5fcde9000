"""Influence of steps along completions, zeroed and averaged."""

from dataclasses import replace

import numpy as np
import pytest

from creditree.influence import influence_of, mean_influence, step_scores, zeroed
from creditree.steps import Separators
from creditree.tree import RolloutTree
from tests.forests import branch, root

SEPARATORS = Separators((frozenset({2}),), think_end=(9,))


def tree() -> RolloutTree:
    """Two chains, and a branch after 4 tokens of the first."""
    return root().grown(
        replace(branch([3, 2, 3, 2, 3, 1]), influence=np.array([0.5, 0.5, 0.2, 0.2, 0.4, 0.4])),
        replace(branch([3, 2, 3, 2, 9, 2, 1]), influence=np.array([0.7, 0.7, 0.3, 0.3, 0.6, 0.6, 0.1])),
        replace(branch([4, 1], 0.0, 0, 4), influence=np.array([0.9, 0.9])),
    )


def test_a_completion_has_the_influence_of_what_it_inherits_and_its_own() -> None:
    found = influence_of(tree(), 2)
    assert found is not None
    assert found.tolist() == [0.5, 0.5, 0.2, 0.2, 0.9, 0.9]
    assert step_scores(found, [(0, 2), (2, 4), (4, 6)]).tolist() == [0.5, 0.2, 0.9]


def test_what_was_not_observed_is_none() -> None:
    blind = root().grown(branch([3, 2, 1]))
    assert influence_of(blind, 0) is None
    assert mean_influence(blind, [0], SEPARATORS) is None
    assert mean_influence(tree(), [], SEPARATORS) is None


def test_the_first_step_and_what_follows_the_thinking_are_zero() -> None:
    scores = np.array([0.5, 0.2, 0.4, 0.3])
    assert zeroed(scores, None).tolist() == [0.0, 0.2, 0.4, 0.3]
    assert zeroed(scores, 2).tolist() == [0.0, 0.2, 0.0, 0.0]
    assert zeroed(scores, 0).tolist() == [0.0] * 4
    assert scores.tolist() == [0.5, 0.2, 0.4, 0.3]
    assert zeroed(np.zeros(0), None).tolist() == []


def test_golden_mean() -> None:
    # Chain 0: (0 + .2 + .4)/3 = .2. Chain 1, four steps, thinking ends in the third: (0 + .3 + 0 + 0)/4 = .075.
    assert mean_influence(tree(), [0, 1], SEPARATORS) == pytest.approx((0.2 + 0.075) / 2, abs=1e-15)
