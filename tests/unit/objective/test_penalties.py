"""What every objective has: KL by three estimators, and an entropy bonus, against sums over the whole vocabulary."""

from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from creditree.errors import ConfigError
from creditree.objective.base import Estimator, Objective, estimate_kl, negative_entropy
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import Circumstances

LOGITS = [0.3, -1.2, 0.8, 0.0]
REFERENCE = torch.log_softmax(torch.tensor([0.0, 0.5, -0.4, 1.0], dtype=torch.float64), 0)


def _gradient(value: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient by the logits of a function of all log-probabilities."""
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(value(torch.log_softmax(logits, 0)), logits)
    return found


def _expected(terms: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the expectation of terms over tokens that the policy samples; the chances have no gradient."""
    return lambda logprobs: (logprobs.exp().detach() * terms(logprobs)).sum()


def _divergence(logprobs: Tensor) -> Tensor:
    return (logprobs.exp() * (logprobs - REFERENCE)).sum()


def test_golden_estimates() -> None:
    # d = log 2: -0.6931; 0.6931^2 / 2 = 0.2402; 2 - 0.6931 - 1 = 0.3069
    names: tuple[Estimator, ...] = ("k1", "k2", "k3")
    found = [float(estimate_kl(name, torch.tensor(log(2)))) for name in names]
    assert found == pytest.approx([-0.6931, 0.2402, 0.3069], abs=1e-4)


def test_k1_and_k3_have_the_divergence_as_their_mean() -> None:
    policy = torch.log_softmax(torch.tensor(LOGITS, dtype=torch.float64), 0)
    exact = float(_divergence(policy))
    for name in ("k1", "k3"):
        mean = (policy.exp() * estimate_kl(name, REFERENCE - policy)).sum()
        assert float(mean) == pytest.approx(exact, abs=1e-12)


def test_k2_has_the_gradient_of_the_divergence_and_k1_has_none() -> None:
    exact = _gradient(_divergence)
    assert torch.allclose(_gradient(_expected(lambda p: estimate_kl("k2", REFERENCE - p))), exact, atol=1e-12)
    assert torch.allclose(_gradient(_expected(lambda p: estimate_kl("k1", REFERENCE - p))), torch.zeros(4).double())


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_with_the_ratio_every_unbiased_estimate_has_the_gradient_of_the_divergence(name: Estimator) -> None:
    objective = PolicyGradient(kl=1.0, kl_estimator=name, kl_ratio=True)
    zero = torch.zeros(4, dtype=torch.float64)
    found = _gradient(_expected(lambda p: objective.terms(p, REFERENCE, zero, p.detach())))
    assert torch.allclose(found, _gradient(_divergence), atol=1e-12)


def test_the_bonus_has_the_value_and_the_gradient_of_the_entropy() -> None:
    policy = torch.log_softmax(torch.tensor(LOGITS, dtype=torch.float64), 0)
    exact = float((policy.exp() * policy).sum())
    assert float((policy.exp() * negative_entropy(policy)).sum()) == pytest.approx(exact, abs=1e-12)
    found = _gradient(_expected(negative_entropy))
    assert torch.allclose(found, _gradient(lambda p: (p.exp() * p).sum()), atol=1e-12)


@pytest.mark.parametrize("objective", [PolicyGradient(entropy_bonus=0.5), Clipped(kl=0.0, entropy_bonus=0.5)])
def test_golden_bonus_of_any_objective(objective: Objective) -> None:
    # log pi = -2, pi = pi_old, A = 1: loss -1, and 0.5 * -2 more; its gradient is -1 and 0.5 * -2 more
    logprobs = torch.tensor([-2.0], requires_grad=True)
    loss = objective.terms(logprobs, None, torch.tensor([1.0]), torch.tensor([-2.0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert (float(loss.detach()), float(gradient)) == pytest.approx((-2.0, -2.0))


def test_without_a_bonus_nothing_changes() -> None:
    arguments = (torch.tensor([-1.0]), torch.tensor([-1.5]), torch.tensor([0.7]), torch.tensor([-1.1]))
    assert torch.equal(Clipped(entropy_bonus=0.0).terms(*arguments), Clipped().terms(*arguments))
    assert float(Likelihood().terms(*arguments)) == pytest.approx(-0.7 * exp(-1.0))


def test_a_bonus_is_refused_where_pairs_are_counted_once() -> None:
    with pytest.raises(
        ConfigError, match=r"entropy_bonus is 0\.1, .* 'likelihood' counts each pair once; leave it out"
    ):
        Likelihood(entropy_bonus=0.1).check(Circumstances(8))
