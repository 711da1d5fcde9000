"""Losses of single terms: values by hand, gradients against finite differences in float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from creditree.errors import ConfigError
from creditree.objective.base import L2Penalty, kl_k3
from creditree.objective.clipped import Clipped
from creditree.objective.likelihood import Likelihood
from creditree.objective.policy_gradient import PolicyGradient

LOGPROBS = st.floats(-12, 0)
Vector = list[float]
Kind = type[PolicyGradient] | type[Likelihood] | type[Clipped]


def _vector(values: Vector) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _known(logprobs: Vector, advantage: Vector) -> tuple[Tensor, None, Tensor, Tensor]:
    """Return what `terms` is given where policy and sampler are one, without reference."""
    return _vector(logprobs), None, _vector(advantage), _vector(logprobs)


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Return the gradient of a scalar function by autograd."""
    point = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(point), point)
    return gradient


def _differences(loss: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """Return the gradient of a scalar function by central differences."""
    found = torch.zeros_like(at)
    for index in range(at.numel()):
        shift = torch.zeros_like(at)
        shift[index] = step
        found[index] = (loss(at + shift) - loss(at - shift)) / (2 * step)
    return found


class TestK3:
    """exp(d) - d - 1 with d = reference - policy."""

    def test_golden(self) -> None:
        # d = ln 2: 2 - 0.693147 - 1 = 0.306853;  d = -ln 2: 1/2 + 0.693147 - 1 = 0.193147.
        k3 = kl_k3(_vector([-math.log(4), -math.log(2)]), _vector([-math.log(2), -math.log(4)]))
        assert k3.tolist() == pytest.approx([1 - math.log(2), math.log(2) - 0.5], abs=1e-14)

    @given(st.lists(st.tuples(LOGPROBS, LOGPROBS), min_size=1, max_size=10))
    def test_never_negative(self, pairs: list[tuple[float, float]]) -> None:
        assert (kl_k3(_vector([p for p, _ in pairs]), _vector([r for _, r in pairs])) >= 0).all()

    @given(st.lists(LOGPROBS, min_size=1, max_size=10))
    def test_zero_with_zero_gradient_where_policy_is_reference(self, logprobs: Vector) -> None:
        reference = _vector(logprobs)
        assert kl_k3(reference, reference).tolist() == [0.0] * len(logprobs)
        gradient = _gradient(lambda x: kl_k3(x, reference).sum(), reference)
        assert gradient.tolist() == [0.0] * len(logprobs)

    def test_its_mean_under_the_policy_is_the_divergence(self) -> None:
        # p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): KL(p || q) = 1/2 ln 2 + 0 - 1/4 ln 2 = ln(2)/4.
        p, q = _vector([0.5, 0.25, 0.25]), _vector([0.25, 0.25, 0.5])
        assert (p * kl_k3(p.log(), q.log())).sum().item() == pytest.approx(math.log(2) / 4, abs=1e-14)


class TestPolicyGradient:
    """Value -A, gradient -A grad log pi."""

    def test_golden(self) -> None:
        loss = PolicyGradient().terms(*_known([-0.1, -3.0, -1.0], [2.0, -0.5, 0.0]))
        assert loss.tolist() == [-2.0, 0.5, 0.0]

    @given(st.lists(st.tuples(LOGPROBS, st.floats(-3, 3)), min_size=1, max_size=8))
    def test_gradient_is_minus_advantage(self, pairs: list[tuple[float, float]]) -> None:
        logprobs, advantage = _vector([p for p, _ in pairs]), _vector([a for _, a in pairs])
        gradient = _gradient(lambda x: PolicyGradient().terms(x, None, advantage, x.detach()).sum(), logprobs)
        assert torch.equal(gradient, -advantage)

    def test_gradient_equals_finite_differences_of_advantage_times_log_pi(self) -> None:
        logits = _vector([0.3, -1.2, 0.8, 2.0, -0.4])
        reference = torch.log_softmax(_vector([0.1, 0.2, 0.3, 0.4, 0.5]), 0)
        advantage = _vector([1.5, -2.0, 0.0, 0.3, -0.7])

        def surrogate(x: Tensor) -> Tensor:
            logprobs = torch.log_softmax(x, 0)
            difference = reference - logprobs
            return (-logprobs * advantage + 0.3 * (difference.exp() - difference - 1)).sum()

        gradient = _gradient(
            lambda x: PolicyGradient(kl=0.3).terms(torch.log_softmax(x, 0), reference, advantage, reference).sum(),
            logits,
        )
        assert torch.allclose(gradient, _differences(surrogate, logits), atol=1e-8)


class TestLikelihood:
    """Value -pi A, gradient -pi A grad log pi."""

    def test_golden(self) -> None:
        # -1/2 * 3 and 1/4 * 2.
        loss = Likelihood().terms(*_known([math.log(0.5), math.log(0.25)], [3.0, -2.0]))
        assert loss.tolist() == pytest.approx([-1.5, 0.5], abs=1e-15)

    @given(st.lists(st.tuples(LOGPROBS, st.floats(-3, 3)), min_size=1, max_size=8))
    def test_gradient_is_minus_probability_times_advantage(self, pairs: list[tuple[float, float]]) -> None:
        logprobs, advantage = _vector([p for p, _ in pairs]), _vector([a for _, a in pairs])
        gradient = _gradient(lambda x: Likelihood().terms(x, None, advantage, x.detach()).sum(), logprobs)
        assert torch.allclose(gradient, -logprobs.exp() * advantage, atol=1e-15)

    def test_gradient_equals_finite_differences(self) -> None:
        logits = _vector([0.3, -1.2, 0.8, 2.0, -0.4])
        reference = torch.log_softmax(_vector([0.1, 0.2, 0.3, 0.4, 0.5]), 0)
        advantage = _vector([1.5, -2.0, 0.0, 0.3, -0.7])

        def loss(x: Tensor) -> Tensor:
            return Likelihood(kl=0.3).terms(torch.log_softmax(x, 0), reference, advantage, reference).sum()

        assert torch.allclose(_gradient(loss, logits), _differences(loss, logits), atol=1e-8)

    def test_all_next_tokens_of_a_prefix_together_are_the_policy_gradient(self) -> None:
        """The sum of pi A over all v has the gradient of the expected reward, in which V(p) drops out."""
        logits, reward = _vector([0.3, -1.2, 0.8]), _vector([1.0, 0.0, 0.5])
        baseline = 0.7
        pairs = _gradient(
            lambda x: Likelihood().terms(torch.log_softmax(x, 0), None, reward - baseline, logits).sum(), logits
        )
        expected = _differences(lambda x: -(torch.softmax(x, 0) * reward).sum(), logits)
        assert torch.allclose(pairs, expected, atol=1e-8)


@pytest.mark.parametrize("objective", [PolicyGradient, Likelihood, Clipped])
class TestAll:
    """What every objective does with its settings."""

    def test_zero_advantage_without_penalty_has_no_gradient(self, objective: Kind) -> None:
        gradient = _gradient(
            lambda x: objective(kl=0.0).terms(x, None, torch.zeros_like(x), x.detach()).sum(), _vector([-1.0, -2.0])
        )
        assert gradient.tolist() == [0.0, 0.0]

    def test_a_penalty_adds_its_coefficient_times_k3(self, objective: Kind) -> None:
        logprobs, reference, advantage = _vector([-1.0, -0.2]), _vector([-0.5, -0.9]), _vector([0.4, -0.6])
        plain = objective(kl=0.0).terms(logprobs, None, advantage, logprobs)
        penalised = objective(kl=0.25).terms(logprobs, reference, advantage, logprobs)
        assert torch.allclose(penalised - plain, 0.25 * kl_k3(logprobs, reference), atol=1e-15)

    def test_a_penalty_without_reference_is_a_bug(self, objective: Kind) -> None:
        with pytest.raises(ValueError, match="needs reference"):
            objective(kl=0.1).terms(*_known([-1.0], [1.0]))

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"kl": -0.1}, "kl is -0.1"),
            ({"loss_temperature": 0.0}, "loss_temperature is 0.0"),
            ({"loss_temperature": -1.0}, "loss_temperature is -1.0"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(
        self, objective: Kind, settings: dict[str, float], reason: str
    ) -> None:
        with pytest.raises(ConfigError, match=reason):
            objective(**settings)  # type: ignore[arg-type]


class TestL2Penalty:
    """In the loss, or decoupled after the step."""

    def test_golden(self) -> None:
        # 0.01 (1 + 4 + 9 + 16 + 25) = 0.55.
        loss = L2Penalty(0.01).loss([_vector([1.0, 2.0]).reshape(1, 2), _vector([3.0, 4.0, 5.0])])
        assert loss.item() == pytest.approx(0.55, abs=1e-15)

    def test_gradient_is_twice_lambda_times_the_matrix(self) -> None:
        matrix = _vector([1.0, -2.0, 0.5])
        gradient = _gradient(lambda x: L2Penalty(0.01).loss([x]), matrix)
        assert torch.allclose(gradient, 0.02 * matrix, atol=1e-16)
        assert torch.allclose(gradient, _differences(lambda x: L2Penalty(0.01).loss([x]), matrix), atol=1e-9)

    def test_decoupled_equals_a_plain_gradient_step_on_the_penalty(self) -> None:
        matrix, rate = _vector([1.0, -2.0, 0.5]), 0.1
        step = matrix - rate * _gradient(lambda x: L2Penalty(0.01).loss([x]), matrix)
        shrunk = matrix.clone()
        L2Penalty(0.01, decoupled=True).shrink([shrunk], rate)
        assert torch.allclose(shrunk, step, atol=1e-16)

    def test_in_the_loss_adam_moves_by_the_rate_whatever_lambda_is(self) -> None:
        """Why the decoupled form exists: Adam's first step is lr times the sign of the gradient."""
        moved = {}
        for coefficient in (1e-4, 1e-2):
            weight = torch.nn.Parameter(_vector([1.0, -2.0]))
            optimiser = torch.optim.AdamW([weight], lr=1e-3, weight_decay=0.0)
            L2Penalty(coefficient).loss([weight]).backward()
            optimiser.step()
            moved[coefficient] = (weight.detach() - _vector([1.0, -2.0])).numpy()
        assert np.allclose(moved[1e-4], [-1e-3, 1e-3], atol=1e-6)
        assert np.allclose(moved[1e-2], [-1e-3, 1e-3], atol=1e-6)

    def test_a_negative_coefficient_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"l2 is -0\.1"):
            Likelihood(l2=-0.1)
