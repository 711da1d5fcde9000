"""The learner against the plain computation, and what one step does and does not change."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.credit.prefix_gain import PrefixGain
from creditree.errors import ModelError
from creditree.explore.group import Group
from creditree.explore.replay import Replay
from creditree.fields import TokenField
from creditree.learner import head
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.stretches import stretches_of
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.attention import AttentionPlan
from creditree.models.transformer import Rope, Transformer
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.problem import Verdict
from creditree.rng import Key
from creditree.select.branching_pairs import BranchingPairs
from creditree.select.early_and_random import EarlyAndRandom
from creditree.select.everything import Everything
from creditree.tree import FloatArray, Forest, IntArray
from tests.each_once import each_once
from tests.naive import naive_loss
from tests.rollouts import credited, largest_gap, sampled_forests
from tests.tiny_models import FAMILIES, tiny

KEY = Key.of(1)
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Arrays = list[FloatArray]
Fields = list[tuple[TokenField, ...]]
METHODS = {
    "grpo": Method("grpo", "", Group(5), GroupRelative(), Everything(), PolicyGradient(kl=0.3)),
    "s-grpo": Method("s-grpo", "", Group(5), GroupRelative(), EarlyAndRandom(2, 0.5, 4), PolicyGradient(kl=0.3)),
    "t-spmo": Method("t-spmo", "", Replay(6, 1, 1), PrefixGain(), BranchingPairs(), Likelihood()),
    "tempered": Method(
        "tempered",
        "",
        Replay(6, 1, 1),
        PrefixGain(),
        BranchingPairs("all"),
        PolicyGradient(kl=0.2, loss_temperature=0.4),
    ),
}


def trained_adapter(family: str = "qwen2", dtype: torch.dtype = torch.float64, spec: LoraSpec | None = None) -> Adapter:
    """An adapter whose matrices are all away from zero."""
    adapter = Adapter(tiny(family, dtype), spec or LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64).to(matrix.dtype))
    return adapter


def gradients(adapter: Adapter) -> Arrays:
    return [matrix.grad.numpy().copy() for matrix in adapter.matrices if matrix.grad is not None]


def plain(
    adapter: Adapter, method: Method, forests: list[Forest], advantages: Fields, weights: Fields
) -> tuple[float, Arrays]:
    for matrix in adapter.matrices:
        matrix.grad = None
    loss = naive_loss(adapter, method.objective, forests, advantages, weights)
    loss.backward()
    return loss.item(), gradients(adapter)


@pytest.mark.parametrize(("family", "name"), each_once(FAMILIES, METHODS))
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), pytest.param(torch.float32, 1e-5, marks=pytest.mark.thorough)],
    ids=["f64", "f32"],
)
def test_loss_and_gradients_equal_the_plain_computation(
    family: str, name: str, dtype: torch.dtype, tolerance: float
) -> None:
    method, adapter = METHODS[name], trained_adapter(family, dtype)
    forests = sampled_forests(adapter.model, method.explore)
    advantages, weights = credited(method, forests)
    learner = Learner(adapter, method.objective, OptimiserSpec())
    batch = pack(forests, advantages, weights, keep_zero_advantage=learner.keep_zero_advantage)
    assert batch.num_terms > 5
    expected_loss, expected = plain(adapter, method, forests, advantages, weights)
    for tokens in (1024, 8, 1) if family == "qwen2" or dtype == torch.float32 else (1024, 8):
        learner = Learner(adapter, method.objective, OptimiserSpec(micro_batch_tokens=tokens))
        loss = learner.gradient(batch, KEY)
        assert loss == pytest.approx(expected_loss, rel=tolerance, abs=tolerance)
        assert largest_gap(gradients(adapter), expected) < tolerance
        assert learner.loss(batch) == pytest.approx(expected_loss, rel=tolerance, abs=tolerance)
    assert len(stretches_of(batch, 8)) > 1


def test_the_host_looks_at_as_few_numbers_in_many_stretches_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # each look makes a GPU's host wait until all is done that was asked for
    method, adapter = METHODS["grpo"], trained_adapter()
    batch = batch_of(method, adapter)
    learner = Learner(adapter, method.objective, OptimiserSpec())
    learner.gradient(batch, KEY)  # what is looked at but once is known now
    looks: list[str] = []

    def counted(name: str) -> Any:
        plain = getattr(Tensor, name)

        def look(tensor: Tensor, *arguments: Any) -> Any:
            looks.append(name)
            return plain(tensor, *arguments)

        return look

    for name in ("tolist", "item", "__float__", "__int__", "__bool__", "numpy"):
        monkeypatch.setattr(Tensor, name, counted(name))
    found = []
    for tokens in (1024, 8):
        learner.micro_batch_tokens = tokens
        looks.clear()
        learner.accumulate(batch, KEY, at_old=True)
        found.append(list(looks))
    assert len(stretches_of(batch, 8)[0].below) > 0
    assert found[0] == found[1]
    assert "tolist" in found[0]


WHERE = {
    "everywhere": LoraSpec(rank=2, layers=1.0, targets=SEVEN),
    "gaps": LoraSpec(rank=3, layers=(1, 3), targets=("k_proj", "o_proj", "up_proj")),
    "not-the-last": LoraSpec(rank=3, layers=(0, 2), targets=("down_proj",)),
    "the-last": LoraSpec(rank=3, layers=(3,), targets=("gate_proj", "q_proj")),
}


@pytest.mark.parametrize(("where", "family"), each_once(WHERE, [*FAMILIES, "mistral"]))
def test_wherever_the_adapter_is_the_gradients_are_the_plain_ones(where: str, family: str) -> None:
    method, adapter = METHODS["grpo"], trained_adapter(family, spec=WHERE[where])
    forests = sampled_forests(adapter.model, method.explore)
    advantages, weights = credited(method, forests)
    expected_loss, expected = plain(adapter, method, forests, advantages, weights)
    batch = pack(forests, advantages, weights, keep_zero_advantage=True)
    for tokens in (1024, 12):
        learner = Learner(adapter, method.objective, OptimiserSpec(micro_batch_tokens=tokens))
        assert learner.gradient(batch, KEY) == pytest.approx(expected_loss, rel=1e-10)
        assert largest_gap(gradients(adapter), expected) < 1e-10


@dataclass
class PlainTrunk:
    """A trunk store that forwards each token's whole path through the modules, or has nothing."""

    adapter: Adapter
    batch: Batch
    empty: bool = False

    def trunk(self, handles: IntArray) -> Tensor | None:
        """Return the last state of each path before the first adapted layer; handles are indices into the batch."""
        if self.empty:
            return None
        found, token_ids, parent = [], self.batch.token_ids, self.batch.parent
        for token in handles.tolist():
            path = [token]
            while parent[path[0]] >= 0:
                path.insert(0, int(parent[path[0]]))
            ids = torch.from_numpy(token_ids[path])[None]
            with torch.no_grad():
                out = self.adapter.model.transformer.model(ids, use_cache=False, output_hidden_states=True)
            found.append(out.hidden_states[self.adapter.first_layer][0, -1])
        return torch.stack(found)


@pytest.mark.parametrize(("tokens", "name"), each_once([1024, 12], ["grpo", "t-spmo"]))
def test_a_stored_trunk_gives_the_same_gradients_and_is_not_forwarded(
    name: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, adapter = METHODS[name], trained_adapter()
    spec, batch = OptimiserSpec(micro_batch_tokens=tokens), batch_of(method, adapter)
    batch = replace(batch, handles=np.arange(batch.num_tokens))
    expected_loss = Learner(adapter, method.objective, spec).gradient(batch, KEY)
    expected = gradients(adapter)
    starts: list[int] = []
    layers = Transformer.layers

    def noted(
        self: Transformer, hidden: Tensor, rope: Rope, plan: AttentionPlan, start: int = 0, *a: Any, **k: Any
    ) -> Tensor:
        starts.append(start)
        return layers(self, hidden, rope, plan, start, *a, **k)

    monkeypatch.setattr(Transformer, "layers", noted)
    for empty in (False, True):
        starts.clear()
        learner = Learner(adapter, method.objective, spec, PlainTrunk(adapter, batch, empty))
        assert learner.gradient(batch, KEY) == pytest.approx(expected_loss, rel=1e-10)
        assert largest_gap(gradients(adapter), expected) < 1e-10
        assert (0 in starts) == empty


class LittleMemory:
    """Layers that fail for want of memory where more than `room` tokens go through them together."""

    def __init__(self, room: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        layers = Transformer.layers

        def limited(transformer: Transformer, hidden: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            if hidden.shape[1] > room:
                self.failures += 1
                raise error
            return layers(transformer, hidden, *arguments, **keywords)

        monkeypatch.setattr(Transformer, "layers", limited)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:123] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_out_of_memory_goes_on_with_smaller_micro_batches(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, adapter = METHODS["grpo"], trained_adapter()
    batch, twin = batch_of(method, adapter), trained_adapter()
    plain_stats = Learner(twin, method.objective, OptimiserSpec(1e-3)).step(batch, KEY)
    assert plain_stats.note is None
    memory = LittleMemory(45, error, monkeypatch)
    learner = Learner(adapter, method.objective, OptimiserSpec(1e-3))
    stats = learner.step(batch, KEY)
    assert memory.failures > 0
    assert stats.micro_batch_tokens == learner.micro_batch_tokens < 45
    assert stats.note == f"out of memory: micro-batches now hold {stats.micro_batch_tokens} tokens, not 1024"
    assert stats.loss == pytest.approx(plain_stats.loss, rel=1e-10)
    assert stats.grad_norm == pytest.approx(plain_stats.grad_norm, rel=1e-10)
    for ours, other in zip(adapter.matrices, twin.matrices, strict=True):
        assert torch.allclose(ours, other, rtol=0, atol=1e-9)
    failures = memory.failures
    assert learner.step(batch, KEY).note is None
    assert memory.failures == failures


def test_out_of_memory_with_dropout_draws_the_masks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    method, spec = METHODS["grpo"], LoraSpec(rank=3, layers=0.5, dropout=0.5)
    adapter = trained_adapter(spec=spec)
    batch = batch_of(method, adapter)
    small = Learner(adapter, method.objective, OptimiserSpec())
    small.micro_batch_tokens = batch.num_tokens // 2
    expected = small.gradient(batch, KEY)
    LittleMemory(max(s.largest for s in stretches_of(batch, batch.num_tokens // 2)), MemoryError(), monkeypatch)
    assert Learner(adapter, method.objective, OptimiserSpec()).gradient(batch, KEY) == expected
    assert not adapter.peft.training


def test_no_memory_at_all_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    method, adapter = METHODS["grpo"], trained_adapter()
    batch = batch_of(method, adapter)
    LittleMemory(1, MemoryError(), monkeypatch)
    learner = Learner(adapter, method.objective, OptimiserSpec())
    with pytest.raises(ModelError, match=r"out of memory in an update of \d+ tokens, however small its parts; lower"):
        learner.step(batch, KEY)
    assert learner.optimiser.state_dict()["state"] == {}


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    method, adapter = METHODS["grpo"], trained_adapter()
    batch = batch_of(method, adapter)
    LittleMemory(1, RuntimeError("shapes do not fit"), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Learner(adapter, method.objective, OptimiserSpec()).step(batch, KEY)


def test_logits_in_chunks_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    method, adapter = METHODS["grpo"], trained_adapter()
    learner, batch = Learner(adapter, method.objective, OptimiserSpec()), batch_of(method, adapter)
    learner.gradient(batch, KEY)
    whole = gradients(adapter)
    monkeypatch.setattr(head, "rows_per_chunk", lambda vocab_size, count, on_host: 3)
    learner.gradient(batch, KEY)
    assert largest_gap(gradients(adapter), whole) < 1e-12


def batch_of(method: Method, adapter: Adapter) -> Batch:
    forests = sampled_forests(adapter.model, method.explore)
    return pack(forests, *credited(method, forests), keep_zero_advantage=method.objective.kl > 0)


def test_only_adapters_change_and_the_base_is_bit_identical() -> None:
    method, adapter = METHODS["t-spmo"], trained_adapter(dtype=torch.float32)
    base = {n: p.detach().clone() for n, p in adapter.peft.named_parameters() if not p.requires_grad}
    before = adapter.state()
    stats = Learner(adapter, method.objective, OptimiserSpec(1e-2)).step(batch_of(method, adapter), KEY)
    assert stats.updated
    assert stats.grad_norm > 0
    assert all(torch.equal(p, base[n]) for n, p in adapter.peft.named_parameters() if n in base)
    assert any(not torch.equal(before[name], tensor) for name, tensor in adapter.state().items())


def test_a_step_lowers_the_loss() -> None:
    method, adapter = METHODS["t-spmo"], trained_adapter()
    learner, batch = Learner(adapter, method.objective, OptimiserSpec(1e-4)), batch_of(method, adapter)
    before = learner.loss(batch)
    learner.step(batch, KEY)
    assert learner.loss(batch) < before


def test_no_signal_means_no_step_to_the_bit() -> None:
    """Section 13, check 5: all rewards equal; not even the penalties or the optimiser's state move anything."""
    objective = Likelihood(l2=0.5)
    adapter = trained_adapter()
    method = replace(METHODS["t-spmo"], objective=objective)
    forests = sampled_forests(adapter.model, method.explore)
    equal = [tuple(tree.judged(dict.fromkeys(tree.leaves, Verdict(1.0))) for tree in forest) for forest in forests]
    before = adapter.state()
    for chosen in (method, replace(METHODS["grpo"], name="x")):
        learner = Learner(adapter, chosen.objective, OptimiserSpec(1e-2))
        batch = pack(equal, *credited(chosen, equal), keep_zero_advantage=learner.keep_zero_advantage)
        stats = learner.step(batch, KEY)
        assert not stats.updated
        assert learner.optimiser.state_dict()["state"] == {}
    assert all(torch.equal(before[name], tensor) for name, tensor in adapter.state().items())


def test_s_grpo_with_alpha_beyond_the_length_equals_grpo_to_the_bit() -> None:
    """Section 13, check 2, with the same KL mask; also P = 1 and k beyond the length."""
    found = []
    for select in (Everything(), EarlyAndRandom(10, 0.5, 0), EarlyAndRandom(0, 1.0, 10)):
        adapter = trained_adapter()
        learner = Learner(adapter, METHODS["grpo"].objective, OptimiserSpec(1e-2))
        loss = learner.gradient(batch_of(replace(METHODS["grpo"], select=select), adapter), KEY)
        found.append((loss, gradients(adapter)))
    for loss, grads in found[1:]:
        assert loss == found[0][0]
        assert all(np.array_equal(a, b) for a, b in zip(grads, found[0][1], strict=True))


def test_t_spmo_gradient_equals_the_finite_difference_of_its_objective() -> None:
    """Section 13, check 3: central differences of J along each of several random directions."""
    method, adapter = METHODS["t-spmo"], trained_adapter()
    learner, batch = Learner(adapter, method.objective, OptimiserSpec()), batch_of(method, adapter)
    learner.gradient(batch, KEY)
    grads = [torch.from_numpy(g) for g in gradients(adapter)]
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        direction = [torch.randn(m.shape, generator=generator, dtype=torch.float64) for m in adapter.matrices]
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                for matrix, d in zip(adapter.matrices, direction, strict=True):
                    matrix.add_(d, alpha=sign * 1e-5)
                losses.append(learner.loss(batch))
                for matrix, d in zip(adapter.matrices, direction, strict=True):
                    matrix.sub_(d, alpha=sign * 1e-5)
        slope = sum(float((g * d).sum()) for g, d in zip(grads, direction, strict=True))
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_counted_pairs_with_the_ratio_are_reinforce_with_baseline_v() -> None:
    """Section 13, check 3: sum_pairs n(p+v) A(v|p) grad log pi = sum_i sum_t (R_i - V(y_<t)) grad log pi(y_t)."""
    adapter = trained_adapter()
    forests = sampled_forests(adapter.model, Group(8), problems=1)
    tree = forests[0][0]
    pairs = Method("", "", Group(8), PrefixGain(), BranchingPairs("all"), PolicyGradient())
    advantages, weights = credited(pairs, forests)
    trie = tree.trie(tree.rewarded)
    value = trie.means(tree.rewards(tree.rewarded))
    counted = [
        np.where(w != 0, trie.counts[trie.node_of[leaf, 1 : len(w) + 1]], 0.0)
        for leaf, w in enumerate(weights[0][0])
        if w is not None
    ]
    rewards = tree.rewards(tree.leaves)
    reinforce = [
        rewards[leaf] - value[trie.node_of[leaf, : len(tree.branches[leaf].token_ids)]] for leaf in tree.leaves
    ]
    ones = [np.ones(len(a)) for a in reinforce]
    learner = Learner(adapter, PolicyGradient(), OptimiserSpec())
    found = []
    for a, w in ((advantages[0][0], counted), (reinforce, ones)):
        learner.gradient(pack(forests, [(tuple(a),)], [(tuple(w),)], keep_zero_advantage=False), KEY)
        found.append(gradients(adapter))
    assert largest_gap(found[0], found[1]) < 1e-12


@pytest.mark.parametrize("decoupled", [False, True])
def test_l2_penalty_in_the_loss_or_decoupled(decoupled: bool) -> None:
    adapter = trained_adapter()
    objective = Likelihood(l2=0.7, l2_decoupled=decoupled)
    method = replace(METHODS["t-spmo"], objective=objective)
    batch = batch_of(method, adapter)
    reference = Learner(adapter, Likelihood(), OptimiserSpec())
    plain_loss = reference.gradient(batch, KEY)
    policy_norm = float(np.sqrt(sum(np.square(g).sum() for g in gradients(adapter))))
    squares = sum(float(m.detach().square().sum()) for m in adapter.matrices)
    before = [m.detach().clone() for m in adapter.matrices]
    stats = Learner(adapter, objective, OptimiserSpec(1e-3, max_grad_norm=1e9)).step(batch, KEY)
    assert stats.grad_norm == pytest.approx(policy_norm)
    assert stats.l2_grad_norm == pytest.approx(2 * 0.7 * squares**0.5)
    # Adam's first step is lr * g / (|g| + eps) in every entry, so the sign of the summed gradient decides it.
    assert stats.loss == pytest.approx(plain_loss + (0 if decoupled else 0.7 * squares))
    if decoupled:
        twin = trained_adapter()
        Learner(twin, Likelihood(), OptimiserSpec(1e-3, max_grad_norm=1e9)).step(batch, KEY)
        for ours, other in zip(adapter.matrices, twin.matrices, strict=True):
            assert torch.allclose(ours, other * (1 - 2 * 1e-3 * 0.7), atol=1e-14)
    else:
        towards_zero = [float(((m.detach() - b) * b).sum()) for m, b in zip(adapter.matrices, before, strict=True)]
        assert max(towards_zero) < 0


def test_accumulated_problems_equal_the_mean_of_their_gradients() -> None:
    """Q24: batch > 1 is the mean over problems of per-problem losses, each with its own normaliser."""
    method, adapter = METHODS["grpo"], trained_adapter()
    forests = sampled_forests(adapter.model, method.explore, problems=3)
    advantages, weights = credited(method, forests)
    learner = Learner(adapter, method.objective, OptimiserSpec())
    learner.gradient(pack(forests, advantages, weights, keep_zero_advantage=True), KEY)
    together = gradients(adapter)
    alone = []
    for f, a, w in zip(forests, advantages, weights, strict=True):
        learner.gradient(pack([f], [a], [w], keep_zero_advantage=True), KEY)
        alone.append(gradients(adapter))
    mean = [np.mean(parts, axis=0) for parts in zip(*alone, strict=True)]
    assert largest_gap(together, mean) < 1e-12


def test_bfloat16_base_trains_float32_adapters() -> None:
    adapter = trained_adapter(dtype=torch.bfloat16)
    assert {m.dtype for m in adapter.matrices} == {torch.float32}
    stats = Learner(adapter, METHODS["t-spmo"].objective, OptimiserSpec(1e-3)).step(
        batch_of(METHODS["t-spmo"], adapter), KEY
    )
    assert stats.updated
    assert np.isfinite(stats.grad_norm)


def test_dropout_is_a_function_of_the_key() -> None:
    adapter = trained_adapter(spec=LoraSpec(rank=3, layers=0.5, dropout=0.5))
    learner, batch = (
        Learner(adapter, METHODS["t-spmo"].objective, OptimiserSpec()),
        batch_of(METHODS["t-spmo"], adapter),
    )
    losses = [learner.gradient(batch, Key.of(k)) for k in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_state_round_trip_continues_bit_identically() -> None:
    method = METHODS["t-spmo"]
    one = trained_adapter(dtype=torch.float32)
    learner, batch = Learner(one, method.objective, OptimiserSpec(1e-2)), batch_of(method, one)
    learner.step(batch, KEY)
    saved = learner.arrays()
    learner.step(batch, KEY)
    other = Learner(trained_adapter(dtype=torch.float32), method.objective, OptimiserSpec(1e-2))
    other.load_arrays(saved)
    other.step(batch, KEY)
    for name, array in learner.arrays().items():
        assert np.array_equal(array, other.arrays()[name]), name


@pytest.mark.parametrize(("family", "micro_batch_tokens"), each_once(FAMILIES, [8, 1024]))
def test_logprobs_are_those_of_transformers_on_each_sequence(family: str, micro_batch_tokens: int) -> None:
    """Temperature 1 whatever the objective's is; terms in the order of the batch."""
    adapter, spec = trained_adapter(family), OptimiserSpec(micro_batch_tokens=micro_batch_tokens)
    learner = Learner(adapter, PolicyGradient(loss_temperature=0.5), spec)
    forests = sampled_forests(adapter.model, Group(5))
    ones: Fields = [
        tuple(tuple(np.ones(len(b.token_ids)) for b in tree.branches) for tree in forest) for forest in forests
    ]
    batch = pack(forests, ones, ones, keep_zero_advantage=True)
    expected = []
    for forest in forests:
        for leaf in forest[0].leaves:
            ids = torch.tensor(forest[0].context(None, 0).tolist() + forest[0].completion(leaf).tolist())
            with torch.no_grad():
                logprobs = adapter.peft(input_ids=ids[None]).logits[0].log_softmax(-1)
            start = len(forest[0].root_ids)
            expected += [float(logprobs[at - 1, ids[at]]) for at in range(start, len(ids))]
    assert learner.logprobs(batch) == pytest.approx(expected, abs=1e-10)
    with adapter.off():
        assert np.abs(learner.logprobs(batch) - np.array(expected)).max() > 1e-3
