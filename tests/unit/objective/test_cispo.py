"""CISPO clips the weight and not the update; log-likelihood has the gradient of the policy gradient."""

from math import e, log

import pytest
import torch

from creditree.objective.base import Objective
from creditree.objective.cispo import Cispo
from creditree.objective.log_likelihood import LogLikelihood
from creditree.objective.policy_gradient import PolicyGradient


def _gradient(objective: Objective, logprobs: list[float], old: list[float], advantage: list[float]) -> list[float]:
    new = torch.tensor(logprobs, dtype=torch.float64, requires_grad=True)
    terms = objective.terms(new, None, *(torch.tensor(one, dtype=torch.float64) for one in (advantage, old)))
    (found,) = torch.autograd.grad(terms.sum(), new)
    return [float(value) for value in found]


def test_golden_cispo() -> None:
    # log pi = -1, log pi_old = -2: r = e = 2.718, clipped to 1 + 0.5; loss -1.5 * 2 * -1 = 3, gradient -1.5 * 2 = -3
    objective = Cispo(clip_high=0.5)
    terms = objective.terms(torch.tensor([-1.0]), None, torch.tensor([2.0]), torch.tensor([-2.0]))
    assert terms.tolist() == pytest.approx([3.0])
    assert _gradient(objective, [-1.0], [-2.0], [2.0]) == pytest.approx([-3.0])
    # within the bound the weight is r itself, whose gradient does not count
    assert _gradient(Cispo(clip_high=4.0), [-1.0], [-2.0], [2.0]) == pytest.approx([-2.0 * e])
    # below: clip_low 0.2 gives the weight 0.8 where r is a half, and the token still learns
    assert _gradient(Cispo(clip_low=0.2), [-1.0], [-1.0 + log(2)], [-1.0]) == pytest.approx([0.8])


def test_while_the_policy_is_the_old_one_its_gradient_is_the_policy_gradient_s() -> None:
    logprobs, advantage = [-1.0, -0.1, -3.0], [2.0, -1.0, 0.5]
    expected = _gradient(PolicyGradient(), logprobs, logprobs, advantage)
    assert _gradient(Cispo(), logprobs, logprobs, advantage) == pytest.approx(expected, abs=1e-15)


def test_no_term_is_kept_from_learning() -> None:
    assert Cispo().clipped(*(torch.zeros(2) for _ in range(3))) is None


def test_log_likelihood_has_the_gradient_of_the_policy_gradient_and_a_likelihood_for_a_value() -> None:
    logprobs, advantage = [-1.0, -0.1, -3.0], [1.0, 1.0, 0.0]
    expected = _gradient(PolicyGradient(), logprobs, logprobs, advantage)
    assert _gradient(LogLikelihood(), logprobs, logprobs, advantage) == pytest.approx(expected, abs=1e-15)
    terms = LogLikelihood().terms(torch.tensor(logprobs), None, torch.tensor(advantage), torch.tensor(logprobs))
    assert float(terms.sum()) == pytest.approx(1.1)
