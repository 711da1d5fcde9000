"""Selections by a mask: top entropy, low probability, adapter residual; everything's weights where they keep all."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.credit.group_relative import GroupRelative
from creditree.errors import ConfigError
from creditree.select.adapter_residual import AdapterResidual
from creditree.select.base import Selection
from creditree.select.everything import Everything, LossMean
from creditree.select.low_probability import LowProbability
from creditree.select.masked import TopShare
from creditree.select.top_entropy import TopEntropy
from creditree.tree import Forest, RolloutTree
from tests.forests import KEY, assigned, branch, flat, forests, root

MEANS = st.sampled_from(["completions", "tokens"])


def _advantages(forest: Forest) -> tuple[tuple[np.ndarray | None, ...], ...]:
    return tuple(GroupRelative().assign(tree) for tree in forest)


def _with(tree: RolloutTree, **signals: list[list[float]]) -> RolloutTree:
    """Return a tree whose branches have the signals given, by branch."""
    found = (
        replace(one, **cast(Any, {name: np.array(values[index]) for name, values in signals.items()}))
        for index, one in enumerate(tree.branches)
    )
    return replace(tree, branches=tuple(found))


def _made_up(forest: Forest) -> Forest:
    """Return a forest with signals that depend on tokens and places, some of them equal."""
    return tuple(
        replace(
            tree,
            branches=tuple(
                replace(one, entropies=values, notes={"residuals": 3.0 - values})
                for one in tree.branches
                for values in [(one.token_ids * 7 + np.arange(len(one.token_ids))) % 5 / 2.0]
            ),
        )
        for tree in forest
    )


def test_golden_top_entropy_over_the_whole_step() -> None:
    # Two problems, 4 + 3 and 2 + 1 tokens, N = 10; q = 0.3 keeps 3: entropies 9, 8 and 7, so least = 7.
    # Weights 1/(G L): 1/8 and 1/6 in the first problem; none of the second problem's tokens learn but the 8: 1/4.
    first = (_with(flat([[2, 3, 4, 1], [3, 4, 1]], [1.0, 0.0]), entropies=[[9.0, 1, 2, 0], [3, 7, 4]]),)
    second = (_with(flat([[2, 1], [1]], [1.0, 0.0]), entropies=[[5.0, 8.0], [6.0]]),)
    steps = [first, second]
    select = TopEntropy(q=0.3).of_step(steps, [_advantages(forest) for forest in steps])
    assert select.chosen == {"least": 7.0}
    weights = [select.weigh(forest, _advantages(forest), KEY) for forest in steps]
    assert [assigned(values).tolist() for values in weights[0][0]] == [[1 / 8, 0, 0, 0], [0, 1 / 6, 0]]
    assert [assigned(values).tolist() for values in weights[1][0]] == [[0, 1 / 4], [0]]
    # in the token mean, all 10 tokens are counted
    assert TopEntropy(q=0.3, loss_mean="tokens").normaliser(steps, [_advantages(f) for f in steps]) == 10.0


def test_a_forest_alone_is_a_step_of_its_own() -> None:
    forest = (_with(flat([[2, 3, 4, 1], [3, 1]], [1.0, 0.0]), entropies=[[0.1, 0.9, 0.2, 0.0], [0.5, 0.4]]),)
    taken = TopEntropy(q=0.5).weigh(forest, _advantages(forest), KEY)[0]
    assert [(assigned(values) > 0).tolist() for values in taken] == [[False, True, False, False], [True, True]]


def test_tokens_that_tie_with_the_last_all_learn() -> None:
    forest = (_with(flat([[2, 3, 4, 1], [3, 1]], [1.0, 0.0]), entropies=[[2.0, 1, 1, 0], [1, 0]]),)
    taken = TopEntropy(q=1 / 3).weigh(forest, _advantages(forest), KEY)[0]
    assert [(assigned(values) > 0).tolist() for values in taken] == [[True, True, True, False], [True, False]]


def test_tokens_of_failed_completions_are_not_ranked() -> None:
    tree = _with(flat([[2, 1], [3, 1], [4, 1]], [1.0, 0.0, None]), entropies=[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    select = TopEntropy(q=0.25).of_step([(tree,)], [_advantages((tree,))])
    assert select.chosen == {"least": 4.0}


def test_tokens_that_only_a_failed_completion_goes_on_with_are_not_ranked() -> None:
    # 2 3 3 1 failed, but 4 1 forks from it after its first token: of its own tokens, only the 2 is trained on.
    tree = root().grown(branch([2, 3, 3, 1], None), branch([4, 1], 1.0, 0, 1), branch([3, 1], 0.0))
    tree = _with(tree, entropies=[[1.0, 9.0, 9.0, 9.0], [2.0, 5.0], [3.0, 4.0]])
    select = TopEntropy(q=0.2).of_step([(tree,)], [_advantages((tree,))])
    assert select.chosen == {"least": 5.0}


def test_a_shared_token_is_ranked_once_and_keeps_the_weight_of_all_that_share_it() -> None:
    # 2 3 1 and, after its first token, 4 1: 5 tokens, of which q = 0.2 keeps one, the shared 2: 1/(2*3) twice.
    tree = root().grown(branch([2, 3, 1], 1.0), branch([4, 1], 0.0, 0, 1))
    tree = _with(tree, entropies=[[5.0, 1.0, 1.0], [2.0, 3.0]])
    weights = TopEntropy(q=0.2).weigh((tree,), _advantages((tree,)), KEY)[0]
    assert assigned(weights[0]) == pytest.approx([1 / 3, 0.0, 0.0], abs=1e-16)
    assert assigned(weights[1]).tolist() == [0.0, 0.0]


def test_golden_low_probability() -> None:
    # Sampled with 0.95, 0.5, 0.9 and 0.89; below 0.9 lie the second and the last: 1/(G L) = 1/4 and 1/4.
    logprobs = np.log([[0.95, 0.5], [0.9, 0.89]])
    tree = flat([[2, 1], [3, 1]], [1.0, 0.0])
    tree = _with(tree, sampler_logprobs=logprobs.tolist())
    weights = LowProbability(0.9).weigh((tree,), _advantages((tree,)), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.0, 0.25], [0.0, 0.25]]


def test_golden_adapter_residual_and_its_first_step() -> None:
    tree = flat([[2, 3, 1], [3, 1]], [1.0, 0.0])
    after = tree.noted("residuals", [np.array([0.1, 0.4, 0.3]), np.array([0.2, 0.0])])
    weights = AdapterResidual(q=0.4).weigh((after,), _advantages((after,)), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[0.0, 1 / 6, 1 / 6], [0.0, 0.0]]
    before = tree.noted("residuals", [np.zeros(3), np.zeros(2)])
    weights = AdapterResidual(q=0.4).weigh((before,), _advantages((before,)), KEY)[0]
    assert [assigned(values).tolist() for values in weights] == [[1 / 6] * 3, [1 / 4] * 2]


@given(forests(failures=True), MEANS)
def test_masks_that_keep_all_are_everything_to_the_bit(forest: Forest, mean: LossMean) -> None:
    forest = _made_up(forest)
    advantages, full = _advantages(forest), Everything(loss_mean=mean)
    selections: list[Selection] = [
        TopEntropy(q=1.0, loss_mean=mean),
        AdapterResidual(q=1.0, loss_mean=mean),
        LowProbability(1.0, loss_mean=mean),
    ]
    for select in selections:
        fitted = select.of_step([forest], [advantages])
        for ours, theirs in zip(*(one.weigh(forest, advantages, KEY) for one in (fitted, full)), strict=True):
            for x, y in zip(ours, theirs, strict=True):
                assert (x is None and y is None) or np.array_equal(assigned(x), assigned(y))
        assert fitted.normaliser([forest], [advantages]) == full.normaliser([forest], [advantages])


@given(forests(failures=True), st.floats(0.01, 1.0))
def test_the_share_is_kept_and_only_its_best(forest: Forest, q: float) -> None:
    forest = _made_up(forest)
    advantages = _advantages(forest)
    weights = TopEntropy(q=q).weigh(forest, advantages, KEY)
    scores: list[tuple[float, bool]] = []
    for tree, field in zip(forest, weights, strict=True):
        for one, values in zip(tree.branches, field, strict=True):
            if values is not None:
                assert one.entropies is not None
                scores += zip(one.entropies.tolist(), (values > 0).tolist(), strict=True)
    kept = [score for score, taken in scores if taken]
    left = [score for score, taken in scores if not taken]
    assert len(kept) >= q * len(scores) - 1e-6
    assert not left or not kept or max(left) < min(kept)
    assert not kept or sum(score > min(kept) for score in kept) < q * len(scores)


@pytest.mark.parametrize(("kind", "signal"), [(TopEntropy, "entropies"), (AdapterResidual, "residuals")])
def test_without_the_signal_it_says_so(kind: type[TopShare], signal: str) -> None:
    forest = (flat([[2, 1], [3, 1]], [1.0, 0.0]),)
    with pytest.raises(ValueError, match=f"no {signal} to select by"):
        kind().weigh(forest, _advantages(forest), KEY)


def test_only_top_entropy_asks_the_engine() -> None:
    assert TopEntropy().signals.entropies
    assert not any(one.signals.entropies for one in (AdapterResidual(), LowProbability(), Everything()))


@pytest.mark.parametrize("q", [0.0, -0.5, 1.5])
def test_a_share_out_of_range_is_refused(q: float) -> None:
    with pytest.raises(ConfigError, match=r"method.q is .*a share of tokens"):
        TopEntropy(q=q)
    with pytest.raises(ConfigError, match=r"method.probability_below is "):
        LowProbability(q)
