"""Full fine-tuning: gradients of every weight, the base model held apart, sampling from what was learned, saving."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ModelError
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.stretches import stretches_of
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.load import Model, load_model
from creditree.models.trained import load_trained
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.everything import Everything
from creditree.tree import token_array
from tests.each_once import each_once
from tests.naive import naive_loss
from tests.rollouts import credited, sampled_forests
from tests.tiny_models import FAMILIES, tiny

KEY = Key.of(1)
METHOD = Method("grpo", "", Group(5), GroupRelative(), Everything(), PolicyGradient(kl=0.3))


def trained_weights(family: str = "qwen2", dtype: torch.dtype = torch.float64) -> AllWeights:
    """All weights of a tiny model, each a little away from the base, so that a reference differs."""
    weights = AllWeights(tiny(family, dtype))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in weights.matrices:
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(dtype))
    return weights


def batch_of(model: Model, method: Method = METHOD) -> tuple[Batch, Any]:
    forests = sampled_forests(model, method.explore)
    advantages, weights = credited(method, forests)
    return pack(forests, advantages, weights, keep_zero_advantage=True), (forests, advantages, weights)


@pytest.mark.parametrize(("family", "kl"), each_once(FAMILIES, [0.0, 0.3]))
def test_loss_and_gradient_of_every_weight_equal_plain_autograd(family: str, kl: float) -> None:
    """Tied (Qwen2) and untied heads; in one piece, and in stretches that stand on one another."""
    weights, objective = trained_weights(family), PolicyGradient(kl=kl)
    batch, held = batch_of(weights.model)
    expected = naive_loss(weights, objective, *held)
    expected.backward()
    plain = [weight.grad.clone() for weight in weights.matrices if weight.grad is not None]
    assert len(plain) == len(weights.matrices)
    assert len(stretches_of(batch, 8)) > 1
    for tokens in (1024, 8):
        learner = Learner(weights, objective, OptimiserSpec(micro_batch_tokens=tokens))
        assert learner.gradient(batch, KEY) == pytest.approx(expected.item(), rel=1e-10)
        for weight, gradient in zip(weights.matrices, plain, strict=True):
            assert weight.grad is not None
            assert (weight.grad - gradient).abs().max() < 1e-10 * max(1.0, float(gradient.abs().max()))
        learner.optimiser.zero_grad()
        assert learner.loss(batch) == pytest.approx(expected.item(), rel=1e-10)
        assert all(weight.grad is None for weight in weights.matrices)


def test_every_weight_learns_and_a_tied_head_stays_tied() -> None:
    weights = AllWeights(tiny())
    batch, _ = batch_of(weights.model)
    before = weights.state()
    stats = Learner(weights, Clipped(), OptimiserSpec(1e-3)).step(batch, KEY)
    after = weights.state()
    assert stats.updated
    assert all(not torch.equal(before[name], after[name]) for name in before)
    embedding, _, head = weights.model.transformer.ends
    assert head.weight is embedding.weight
    assert "lm_head.weight" not in before


def test_the_base_model_takes_the_places_of_what_was_learned() -> None:
    weights = AllWeights(tiny())
    ids = torch.tensor([[5, 9, 13, 20]])
    base = weights.model.transformer.model(ids).logits.detach()
    batch, _ = batch_of(weights.model)
    Learner(weights, METHOD.objective, OptimiserSpec(1e-2)).step(batch, KEY)
    learned = weights.model.transformer.model(ids).logits.detach()
    assert not torch.allclose(base, learned, atol=1e-3)
    with weights.off():
        assert torch.equal(weights.model.transformer.model(ids).logits, base)
    assert torch.equal(weights.model.transformer.model(ids).logits, learned)


@pytest.mark.parametrize("family", FAMILIES)
def test_after_an_update_native_code_samples_from_what_was_learned(family: str) -> None:
    """The same engine before and after: its tokens and log-probabilities are those of torch, and others than before."""
    weights = AllWeights(tiny(family, torch.float32))
    native, plain = (InProcessEngine(weights.model, native=native) for native in (True, False))
    request = SampleRequest(token_array([5, 9, 13]), tuple(KEY.at(n) for n in range(6)), 12)
    (before,), _ = native.sample([request], Sampling(1.0))
    batch, _ = batch_of(weights.model)
    Learner(weights, METHOD.objective, OptimiserSpec(3e-2)).step(batch, KEY)
    native.forget()
    (after,), _ = native.sample([request], Sampling(1.0))
    (expected,), _ = plain.sample([request], Sampling(1.0))
    for ours, theirs in zip(after, expected, strict=True):
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
    assert any(not np.array_equal(one.logprobs, two.logprobs) for one, two in zip(before, after, strict=True))


def test_a_stored_trunk_is_not_used() -> None:
    """It would hold embeddings from before the last update."""

    class Stale:
        def trunk(self, handles: object) -> torch.Tensor:
            raise AssertionError("asked for a trunk below layer 0")

    weights = trained_weights()
    batch, _ = batch_of(weights.model)
    assert Learner(weights, METHOD.objective, OptimiserSpec(), trunk_store=Stale()).step(batch, KEY).updated


@pytest.mark.parametrize("name", ["builtin:multiplication"])
def test_what_is_saved_is_a_model_like_any_other(name: str, tmp_path: Path) -> None:
    weights = AllWeights(load_model(name))
    with torch.no_grad():
        for weight in weights.matrices:
            weight.mul_(1.01)
    weights.save(tmp_path / "model")
    ids = torch.tensor([[5, 9, 13]])
    expected = weights.model.transformer.model(ids).logits
    loaded = load_model(str(tmp_path / "model"))
    assert torch.equal(loaded.transformer.model(ids).logits, expected)
    assert loaded.text([5, 9, 13]) == weights.model.text([5, 9, 13])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.allclose(theirs(ids).logits, expected, atol=1e-4)

    again = load_trained(load_model(name), tmp_path / "model")
    state, saved = again.state(), weights.state()
    assert all(torch.equal(state[key], saved[key]) for key in saved)
    with again.off(), weights.off():
        assert torch.equal(again.model.transformer.model(ids).logits, weights.model.transformer.model(ids).logits)


def test_a_saved_adapter_is_loaded_as_one(tmp_path: Path) -> None:
    adapter = Adapter(tiny(), LoraSpec(rank=3, layers=0.5), KEY)
    adapter.save(tmp_path)
    assert isinstance(load_trained(tiny(), tmp_path), Adapter)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ModelError, match="of another model"):
        AllWeights(tiny("qwen2")).load_state(AllWeights(tiny("llama")).state())


def test_weights_of_too_little_precision_are_refused() -> None:
    with pytest.raises(ModelError, match=r"not float32.*set model\.dtype: float32"):
        AllWeights(tiny("qwen2", torch.bfloat16))


def test_a_resumed_learner_continues_to_the_bit() -> None:
    one = AllWeights(tiny("qwen2", torch.float32))
    batch, _ = batch_of(one.model)
    learner = Learner(one, METHOD.objective, OptimiserSpec(1e-2, weight_decay=0.1))
    learner.step(batch, KEY)
    arrays = learner.arrays()
    learner.step(batch, KEY)
    other = AllWeights(tiny("qwen2", torch.float32))
    resumed = Learner(other, METHOD.objective, OptimiserSpec(1e-2, weight_decay=0.1))
    resumed.load_arrays(arrays)
    resumed.step(batch, KEY)
    found, expected = other.state(), one.state()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
