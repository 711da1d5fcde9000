"""Old log-probabilities: whose they are, that fresh tokens start at a ratio of 1, and what the engine is off by."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from creditree.batch import Batch, pack
from creditree.credit.group_relative import GroupRelative
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.learner.mismatch import Mismatch, gaps_of
from creditree.ledger import Ledger, Seconds
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.objective.base import Objective
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.problem import Problem
from creditree.rng import Key
from creditree.select.everything import Everything
from creditree.tasks.task import PromptTemplate
from creditree.train.exploring import Exploring
from creditree.train.observe import with_old_logprobs
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts
from creditree.train.step import learn
from creditree.tree import Forest
from tests.rollouts import DigitParity, credited, largest_gap, sampled_forests
from tests.tiny_models import tiny

KEY = Key.of(1)
PLAIN = PolicyGradient()


@dataclass(frozen=True)
class Seen(Clipped):
    """`Clipped`, which notes the log ratios that it is given, call by call."""

    ratios: list[Tensor] = field(default_factory=list, metadata={"fitted": True})
    name: ClassVar[str] = "seen"

    def loss(self, logprobs: Tensor, advantage: Tensor, old_logprobs: Tensor) -> Tensor:
        """Note the log ratio."""
        self.ratios.append((logprobs - old_logprobs).detach())
        return super().loss(logprobs, advantage, old_logprobs)


def trained_adapter(dtype: torch.dtype) -> Adapter:
    adapter = Adapter(tiny("qwen2", dtype), LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64).to(matrix.dtype))
    return adapter


def method_of(objective: Any) -> Method:
    return Method("m", "", Group(6), GroupRelative(), Everything(loss_mean="tokens"), objective)


def fresh_batch(adapter: Adapter, objective: Objective) -> tuple[Batch, list[Forest]]:
    forests = sampled_forests(adapter.model, Group(6), problems=3, temperature=1.0)
    batch = pack(forests, *credited(method_of(objective), forests), keep_zero_advantage=False)
    assert batch.num_terms > 20
    return batch, forests


def gradient(adapter: Adapter, objective: Any, batch: Batch, *, at_old: bool) -> tuple[list[Tensor], Any]:
    """Return the gradients of a step, and its statistics; the weights are put back."""
    before = {name: tensor.clone() for name, tensor in adapter.state().items()}
    learner = Learner(adapter, objective, OptimiserSpec(max_grad_norm=1e9, micro_batch_tokens=16))
    stats = learner.step(batch, KEY, at_old=at_old)
    found = [matrix.grad.clone() for matrix in adapter.matrices if matrix.grad is not None]
    adapter.load_state(before)
    return found, stats


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "f32"])
def test_before_any_update_the_clipped_gradient_is_the_plain_one(dtype: torch.dtype) -> None:
    adapter = trained_adapter(dtype)
    objective = Seen(kl=0.0)
    batch, _ = fresh_batch(adapter, objective)
    ours, stats = gradient(adapter, objective, batch, at_old=True)
    plain, _ = gradient(adapter, PLAIN, batch, at_old=True)
    largest = max(float(ratio.abs().max()) for ratio in objective.ratios)
    assert stats.clipped == 0
    assert stats.mismatch.terms == batch.num_terms
    if dtype == torch.float32:
        assert 0 < largest < 1e-4  # the engine's own: it agrees with the learner to rounding
        assert largest_gap([a.numpy() for a in ours], [b.numpy() for b in plain]) < 1e-4
        return
    assert largest == 0.0
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))
    # what it mends: with the engine's word for it, tokens that nothing has changed are away from 1
    assert stats.mismatch.rms > 1e-3
    moved, _ = gradient(adapter, Clipped(kl=0.0), batch, at_old=False)
    assert not all(torch.equal(a, b) for a, b in zip(moved, plain, strict=True))


def test_the_mismatch_is_of_the_terms_that_were_compared() -> None:
    """d = -.3, .1, 0: sum of |d| .4, of squares .1, largest .3, in one part or two, without the last one."""
    said, own = torch.tensor([-1.3, -0.9, -2.0, math.nan]), torch.tensor([-1.0, -1.0, -2.0, -5.0])
    compared = torch.tensor([True, True, True, False])
    whole = Mismatch.of([gaps_of(said, own, compared)], 3)
    cut = [gaps_of(said[part], own[part], compared[part]) for part in (slice(0, 1), slice(1, 4), slice(4, 4))]
    parts = Mismatch.of(cut, 3)
    summed = Mismatch.of(cut[:1], 1) + Mismatch.of(cut[1:], 2)
    for found in (whole, parts, summed):
        assert found.terms == 3
        assert found.mean == pytest.approx(0.4 / 3, abs=1e-6)
        assert found.rms == pytest.approx((0.1 / 3) ** 0.5, abs=1e-6)
        assert found.max == pytest.approx(0.3, abs=1e-6)
    nothing = Mismatch.of([], 0)
    assert (nothing.mean, nothing.rms, nothing.max) == (None, None, None)


def test_with_several_mini_batches_the_old_policy_is_the_one_before_the_first() -> None:
    """The second mini-batch's ratios are those of the weights after the first update and the weights before it."""
    adapter = trained_adapter(torch.bfloat16)
    objective = Seen(kl=0.0)
    method = method_of(objective)
    forests = sampled_forests(adapter.model, Group(6), problems=4, temperature=1.0)
    learner = Learner(adapter, objective, OptimiserSpec(1e-2, micro_batch_tokens=1024))
    parts = Parts(adapter.model, learner, InProcessEngine(adapter.model), None, DigitParity(), method)  # type: ignore[arg-type]
    keys = [Key.of(i) for i in range(4)]
    result = learn(parts, forests, keys, KEY, 1e-2, Seconds(), Ledger(), mini_batch=12)
    assert result.cost.updates == 2
    assert result.cost.measured_tokens > 0
    first, second = (ratio for ratio in objective.ratios)
    assert not first.any()
    assert second.any()
    assert result.stats.mismatch.terms == len(first)


def test_a_base_in_float32_costs_no_pass() -> None:
    adapter = trained_adapter(torch.float32)
    batch, _ = fresh_batch(adapter, Clipped())
    learner = Learner(adapter, Clipped(), OptimiserSpec())
    assert not learner.recomputes_old
    assert learner.with_old_logprobs(batch) is batch


def test_only_an_objective_that_looks_at_old_ones_costs_a_pass() -> None:
    adapter = trained_adapter(torch.bfloat16)
    batch, _ = fresh_batch(adapter, PLAIN)
    assert Learner(adapter, PLAIN, OptimiserSpec()).with_old_logprobs(batch) is batch
    learner = Learner(adapter, Clipped(), OptimiserSpec())
    own = learner.with_old_logprobs(batch)
    assert np.array_equal(own.old_logprob, learner.logprobs(batch))
    assert np.array_equal(own.sampler_logprob, batch.sampler_logprob)
    stale = replace(batch, fresh=np.zeros(batch.num_terms, dtype=np.bool_))
    assert learner.with_old_logprobs(stale) is stale


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "f32"])
def test_completions_that_wait_for_an_update_keep_the_old_ones_of_the_policy_that_sampled(dtype: torch.dtype) -> None:
    adapter = trained_adapter(dtype)
    learner = Learner(adapter, Clipped(), OptimiserSpec())
    rollout = Rollout(
        adapter.model,
        InProcessEngine(adapter.model),
        DigitParity(),
        PromptTemplate(),
        Sampling(1.0),
        8,
        lambda forest: with_old_logprobs(learner, forest),
    )
    ledger = Ledger()
    live = [Exploring.start(Group(3), rollout.root(Problem(str(p), f"{p}*4=", ())), p, Key.of(p), 8) for p in range(2)]
    rollout.advance(live, ledger, Seconds(), kept=live[:1])
    waits, learns = (one.forest for one in live)
    assert all(branch.old_logprobs is None for branch in learns[0].branches)
    for branch in waits[0].branches:
        assert branch.old_logprobs is not None
        assert branch.old_logprobs == pytest.approx(branch.logprobs, abs=0.3 if dtype == torch.bfloat16 else 1e-9)
        assert np.array_equal(branch.old_logprobs, branch.logprobs) == (dtype == torch.float32)
    assert (ledger.measured_tokens > 0) == (dtype == torch.bfloat16)
    again, forwarded = with_old_logprobs(learner, waits)
    assert again is waits
    assert forwarded == 0
    fields = tuple(np.ones(len(b.token_ids)) for b in waits[0].branches)
    batch = pack([waits], [(fields,)], [(fields,)], keep_zero_advantage=False)
    assert not batch.fresh.any()
    said = np.concatenate([b.logprobs for b in waits[0].branches])
    assert sorted(batch.sampler_logprob) == pytest.approx(sorted(said))
