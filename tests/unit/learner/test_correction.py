"""The mismatch of engine and learner, corrected: weights by hand, and an update that has them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creditree.errors import ConfigError
from creditree.learner.correction import importance
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.objective.base import Correction
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import Circumstances
from tests.unit.learner.test_old_logprobs import PLAIN, fresh_batch, gradient, trained_adapter

LOG2 = float(np.log(2.0))
RATIOS = np.array([LOG2, 2 * LOG2, -LOG2, 0.0, 0.0])
SEQUENCE = np.array([0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        # of tokens: 2, 4, 1/2, 1, 1
        ("token", [2.0, 3.0, 0.5, 1.0, 1.0]),
        ("token_mask", [2.0, 0.0, 0.5, 1.0, 1.0]),
        # of sequences: 2 * 4 / 2 = 4, and 1
        ("sequence", [3.0, 3.0, 3.0, 1.0, 1.0]),
        ("sequence_mask", [0.0, 0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_weights_by_hand(kind: Correction, weights: list[float]) -> None:
    assert importance(RATIOS, SEQUENCE, kind, 3.0) == pytest.approx(np.array(weights))


def test_where_engine_and_learner_agree_every_weight_is_one() -> None:
    for kind in ("token", "sequence", "token_mask", "sequence_mask"):
        assert importance(np.zeros(5), SEQUENCE, kind, 2.0).tolist() == [1.0] * 5
        assert len(importance(np.zeros(0), np.zeros(0, dtype=np.int64), kind, 2.0)) == 0


def test_sums_that_are_out_of_all_bounds_stay_finite() -> None:
    assert importance(np.array([900.0, 900.0]), np.array([0, 0]), "sequence", 2.0).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("at_old", [True, False])
def test_an_update_has_the_weights_of_its_terms(at_old: bool) -> None:
    """The engine says of half the terms that they were half as probable: their weight is 2, that of the others 1."""
    adapter = trained_adapter(torch.float64)
    batch, _ = fresh_batch(adapter, PLAIN)
    doubled = np.arange(batch.num_terms) % 2 == 0
    said = replace(batch, sampler_logprob=batch.sampler_logprob - LOG2 * doubled)
    ours, stats = gradient(adapter, PolicyGradient(sampler_correction="token"), said, at_old=at_old)
    plain = replace(batch, advantage=batch.advantage * np.where(doubled, 2.0, 1.0))
    theirs, _ = gradient(adapter, PLAIN, plain, at_old=at_old)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-14) for a, b in zip(ours, theirs, strict=True))
    assert stats.measured == (batch.num_tokens if at_old else 0)


def test_the_penalty_is_not_weighed() -> None:
    adapter = trained_adapter(torch.float64)
    batch, _ = fresh_batch(adapter, PLAIN)
    said = replace(batch, sampler_logprob=batch.sampler_logprob - 3 * LOG2)  # of weight 8: all are masked
    masked = PolicyGradient(sampler_correction="token_mask")
    _, stats = gradient(adapter, masked, said, at_old=True)
    assert not stats.updated
    learner = Learner(adapter, replace(masked, kl=0.5), OptimiserSpec())
    assert learner.with_old_logprobs(said) is not said


def test_with_the_clip_the_old_policy_is_the_learners() -> None:
    adapter = trained_adapter(torch.float32)
    batch, _ = fresh_batch(adapter, PLAIN)
    said = replace(batch, sampler_logprob=batch.sampler_logprob - LOG2, old_logprob=batch.old_logprob - LOG2)
    objective = Clipped(kl=0.0, sampler_correction="token")
    ours, stats = gradient(adapter, objective, said, at_old=True)
    plain, _ = gradient(adapter, PLAIN, replace(batch, advantage=2 * batch.advantage), at_old=True)
    assert stats.clipped == 0
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-7) for a, b in zip(ours, plain, strict=True))


def test_an_engine_that_is_another_program_has_no_say_in_the_old_ones() -> None:
    adapter = trained_adapter(torch.float32)
    batch, _ = fresh_batch(adapter, PLAIN)
    assert Learner(adapter, Clipped(), OptimiserSpec(), engine_differs=True).with_old_logprobs(batch) is not batch
    assert Learner(adapter, PLAIN, OptimiserSpec(), engine_differs=True).with_old_logprobs(batch) is batch


def test_what_cannot_be_corrected_is_refused() -> None:
    with pytest.raises(ConfigError, match="counts each pair once, whatever the probability"):
        Likelihood(sampler_correction="token").check(Circumstances(8))
    with pytest.raises(ConfigError, match=r"method\.loss_temperature is 0\.3"):
        PolicyGradient(sampler_correction="token", loss_temperature=0.3).check(Circumstances(8, 0.7))
    with pytest.raises(ConfigError, match=r"method\.sampler_cap is 0\.5"):
        PolicyGradient(sampler_correction="token", sampler_cap=0.5)
