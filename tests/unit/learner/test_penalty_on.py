"""A mask that leaves the KL penalty alone, and k3 times the ratio: against the loss written out token by token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creditree.batch import pack
from creditree.credit.group_relative import GroupRelative
from creditree.explore.group import Group
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.methods import Method
from creditree.models.adapter import Adapter, LoraSpec
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.rng import Key
from creditree.select.low_probability import LowProbability
from tests.naive import _logprobs
from tests.rollouts import sampled_forests
from tests.tiny_models import tiny

KL = 0.3


def written_out(adapter: Adapter, method: Method, forests: list, mask_kl: bool, ratio: bool) -> float:  # type: ignore[type-arg]
    """Set the gradients of the loss as TRL writes it: pg * mask + kl * k3 (* ratio), mean by completion, then group."""
    total = torch.zeros((), dtype=torch.float64)
    for forest in forests:
        (tree,) = forest
        (advantages,) = [method.credit.assign(tree)]
        for branch, advantage in zip(tree.branches, advantages, strict=True):
            assert advantage is not None
            context = tree.context(None, 0)
            policy = _logprobs(adapter, context, branch.token_ids, 1.0)
            with torch.no_grad(), adapter.off():
                reference = _logprobs(adapter, context, branch.token_ids, 1.0)
            r = torch.exp(policy - policy.detach())
            k3 = torch.exp(reference - policy) - (reference - policy) - 1
            mask = torch.tensor(np.exp(branch.sampler_logprobs) < method.select.probability_below)  # type: ignore[attr-defined]
            terms = -r * torch.tensor(advantage) * mask + KL * (r * k3 if ratio else k3) * (mask if mask_kl else 1)
            total = total + terms.mean() / len(tree.branches) / len(forests)
    total.backward()
    return total.item()


@pytest.mark.parametrize("penalty_on", ["selected", "all"])
@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("objective", [PolicyGradient(kl=KL), Clipped(kl=KL)], ids=["policy_gradient", "clipped"])
def test_the_penalty_acts_where_it_is_said(penalty_on: str, ratio: bool, objective: PolicyGradient | Clipped) -> None:
    adapter = Adapter(tiny(), LoraSpec(rank=3, layers=0.5), Key.of(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.2 * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype))
    select = LowProbability(0.5, penalty_on=penalty_on)  # type: ignore[arg-type]
    chosen = replace(objective, kl_ratio=ratio)
    method = Method("m", "", Group(5), GroupRelative(), select, chosen)
    forests = sampled_forests(adapter.model, method.explore, temperature=1.0)
    expected = written_out(adapter, method, forests, penalty_on == "selected", ratio)
    plain = [matrix.grad.clone() for matrix in adapter.matrices if matrix.grad is not None]
    advantages = [tuple(method.credit.assign(tree) for tree in forest) for forest in forests]
    weights = [select.weigh(f, a, Key.of(0)) for f, a in zip(forests, advantages, strict=True)]
    penalised = [select.penalised(f, a) for f, a in zip(forests, advantages, strict=True)]
    batch = pack(forests, advantages, weights, keep_zero_advantage=True, penalised=penalised)
    learner = Learner(adapter, chosen, OptimiserSpec())
    assert learner.gradient(batch, Key.of(0)) == pytest.approx(expected, rel=1e-10)
    for matrix, gradient in zip(adapter.matrices, plain, strict=True):
        assert matrix.grad is not None
        assert torch.allclose(matrix.grad, gradient, rtol=1e-8, atol=1e-12)
