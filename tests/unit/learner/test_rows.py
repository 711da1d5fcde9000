"""Learning by a model's own forward pass, against one pass for each branch; and its adapters in plain PEFT."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.rows import paths_of
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec, saved_spec
from creditree.models.all_weights import AllWeights
from creditree.models.trained import Trained
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.everything import Everything
from creditree.tree import Forest
from tests.each_once import each_once
from tests.naive import naive_loss
from tests.rollouts import credited, largest_gap, sampled_forests
from tests.tiny_models import OTHERS, other, other_model

METHODS = {
    "grpo": Method("grpo", "", Group(5), GroupRelative(), Everything(), PolicyGradient(kl=0.3, loss_temperature=0.7)),
    "t-spmo": Method("t-spmo", "", Replay(6, 1, 1), PrefixGain(), BranchingPairs(), Likelihood()),
}
TARGETS = {
    "gpt2": ("q_proj", "v_proj", "c_fc", "c_proj"),
    "opt": ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    "phi3": ("q_proj", "v_proj", "gate_proj", "down_proj"),
}
OWN = {
    "gpt2": ("c_attn", "c_fc", "c_proj"),
    "opt": ("fc1", "fc2", "out_proj", "q_proj", "v_proj"),
    "phi3": ("down_proj", "gate_up_proj", "qkv_proj"),
}


def trained_adapter(kind: str, *, dropout: float = 0.0) -> Adapter:
    """Return an adapter whose matrices are all away from zero, on the last two layers."""
    targets = TARGETS.get(kind, ("q_proj", "v_proj"))
    adapter = Adapter(other(kind), LoraSpec(rank=3, layers=0.5, dropout=dropout, targets=targets), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64))
    return adapter


def batch_of(trained: Trained, method: Method) -> tuple[Batch, float, list[np.ndarray]]:
    """Return a batch, and the loss and gradients of the plain computation."""
    forests: list[Forest] = sampled_forests(trained.model, method.explore)
    advantages, weights = credited(method, forests)
    batch = pack(
        forests, advantages, weights, keep_zero_advantage=method.objective.kl > 0,
        tempered=method.objective.loss_temperature != 1.0,
    )  # fmt: skip
    for matrix in trained.matrices:
        matrix.grad = None
    loss = naive_loss(trained, method.objective, forests, advantages, weights)
    loss.backward()
    return batch, loss.item(), gradients(trained)


def gradients(trained: Trained) -> list[np.ndarray]:
    return [matrix.grad.numpy().copy() for matrix in trained.matrices if matrix.grad is not None]


@pytest.mark.parametrize("sizes", [(1024, 30), pytest.param((1,), marks=pytest.mark.thorough)], ids=["large", "one"])
@pytest.mark.parametrize(("kind", "name"), each_once(OTHERS, METHODS))
def test_loss_and_gradients_equal_the_plain_computation(kind: str, name: str, sizes: tuple[int, ...]) -> None:
    method, adapter = METHODS[name], trained_adapter(kind)
    batch, expected_loss, expected = batch_of(adapter, method)
    assert batch.num_terms > 5
    assert len(expected) == len(adapter.matrices)
    for tokens in sizes:
        learner = Learner(adapter, method.objective, OptimiserSpec(micro_batch_tokens=tokens))
        assert learner.gradient(batch, Key.of(1)) == pytest.approx(expected_loss, rel=1e-5, abs=1e-6)
        assert largest_gap(gradients(adapter), expected) < 2e-5  # float64, but for norms and softmaxes in float32
        assert learner.loss(batch) == pytest.approx(expected_loss, rel=1e-5, abs=1e-6)
    if name == "grpo":  # what was sampled is what the learner computes
        found = learner.logprobs(batch, 0.5)
        assert found == pytest.approx(batch.sampler_logprob, abs=2e-5)


def test_all_weights_learn_too() -> None:
    method, trained = METHODS["grpo"], AllWeights(other("opt"))
    batch, expected_loss, expected = batch_of(trained, method)
    learner = Learner(trained, method.objective, OptimiserSpec(micro_batch_tokens=40))
    assert learner.gradient(batch, Key.of(1)) == pytest.approx(expected_loss, rel=1e-6)
    assert largest_gap(gradients(trained), expected) < 1e-6


def test_states_are_those_before_the_head_with_the_adapter_and_without() -> None:
    adapter = trained_adapter("gemma2")
    batch, _, _ = batch_of(adapter, METHODS["grpo"])
    learner = Learner(adapter, METHODS["grpo"].objective, OptimiserSpec(micro_batch_tokens=40))
    states = learner.states(batch)
    with torch.no_grad():
        logits = 3.0 * torch.tanh(adapter.model.network.head(torch.from_numpy(states)) / 3.0)  # the soft cap of Gemma 2
    chosen = torch.log_softmax(logits, -1)[torch.arange(len(states)), torch.from_numpy(batch.token)]
    assert chosen.numpy() == pytest.approx(learner.logprobs(batch), abs=1e-5)
    with adapter.off():
        base = learner.states(batch)
    assert learner.residuals(batch) == pytest.approx(np.linalg.norm(states - base, axis=1), rel=1e-6, abs=1e-9)


def test_every_term_is_on_one_path_that_holds_its_row() -> None:
    batch, _, _ = batch_of(trained_adapter("gpt2"), METHODS["t-spmo"])
    paths = paths_of(batch)
    assert len(paths) > 3
    assert sorted(np.concatenate([path.terms for path in paths]).tolist()) == list(range(batch.num_terms))
    for path in paths:
        assert path.token_ids[path.positions].tolist() == batch.token_ids[batch.row[path.terms]].tolist()


def test_only_the_adapter_has_dropout_in_training() -> None:
    """GPT-2's own dropout of a tenth stays off: else the policy that learns is not the one that sampled."""
    adapter = trained_adapter("gpt2", dropout=0.5)
    ids = torch.arange(9)[None]
    with torch.no_grad():
        before = adapter.model.network.model(ids, use_cache=False).logits
        with adapter.learning(Key.of(3)):
            learning = adapter.model.network.model(ids, use_cache=False).logits
            with adapter.off():
                base = adapter.model.network.model(ids, use_cache=False).logits
        with adapter.off():
            assert torch.equal(base, adapter.model.network.model(ids, use_cache=False).logits)
        assert torch.equal(before, adapter.model.network.model(ids, use_cache=False).logits)
    assert not torch.equal(before, learning)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_adapter_gives_the_same_logits_in_plain_peft(kind: str, tmp_path: Path) -> None:
    adapter = trained_adapter(kind)
    adapter.save(tmp_path)
    ids = torch.arange(9)[None] + 3
    plain: Any = other_model(kind)
    with torch.no_grad():
        ours = adapter.model.network.model(ids, use_cache=False).logits
        base = plain(ids, use_cache=False).logits
        theirs = PeftModel.from_pretrained(plain, str(tmp_path)).to(torch.float64).eval()(ids, use_cache=False).logits
    assert (ours - base).abs().max() > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-9)
    _, spec = saved_spec(tmp_path)
    assert spec.targets == OWN.get(kind, ("q_proj", "v_proj"))
    assert spec.layers == (2, 3)
    again = Adapter(other(kind), spec, Key.of(9))
    again.load(tmp_path)
    with torch.no_grad():
        assert torch.allclose(again.model.network.model(ids, use_cache=False).logits, ours, atol=1e-9)
