"""The clipped ratio: every branch of it by hand, its gradient, and what it is at the policy that sampled."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from creditree.errors import ConfigError
from creditree.objective.clipped import Clipped
from creditree.objective.policy_gradient import PolicyGradient
from creditree.piece import Circumstances

PLAIN = Clipped(kl=0.0)
# A product with a number below 2.2e-308 rounds to 0 or not by its order.
ADVANTAGES = st.floats(-3, 3, allow_subnormal=False)
LOGPROBS = st.floats(-12, 0)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_and_slope(objective: Any, ratio: float, advantage: float) -> tuple[float, float]:
    """Return the loss of a term of some ratio, and its derivative by the log-probability."""
    old = vector(-5.0)
    logprobs = (old + math.log(ratio)).requires_grad_()
    loss = objective.terms(logprobs, None, vector(advantage), old)
    (slope,) = torch.autograd.grad(loss.sum(), logprobs)
    return loss.item(), slope.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.2),  # inside: -A r, and d r / d log pi = r
        (1.5, 2.0, -2.56, 0.0),  # above, A > 0: -2 * 1.28
        (0.5, 2.0, -1.0, -1.0),  # below, A > 0: -2 * 0.5 > -2 * 0.8, so it learns its way back
        (0.9, -2.0, 1.8, 1.8),  # inside, A < 0
        (0.5, -2.0, 1.6, 0.0),  # below, A < 0: 2 * 0.8
        (2.0, -2.0, 4.0, 4.0),  # above, A < 0: 2 * 2 > 2 * 1.28
        (5.0, -2.0, 6.0, 0.0),  # dual clip: at most 3 * 2
        (5.0, 0.0, 0.0, 0.0),
    ],
)
def test_golden(ratio: float, advantage: float, loss: float, slope: float) -> None:
    found = loss_and_slope(PLAIN, ratio, advantage)
    assert found == pytest.approx((loss, slope), abs=1e-12)
    clipped = PLAIN.clipped(vector(math.log(ratio)), vector(advantage), vector(0.0))
    assert clipped.tolist() == [advantage != 0 and slope == 0]


def test_the_bounds_are_its_own() -> None:
    # 1 + 0.5 and 1 - 0.3 and 10: -2 * 1.5, 2 * 0.7, 2 * 5 and, at a ratio of 12, 2 * 10.
    wide = Clipped(clip_low=0.3, clip_high=0.5, dual_clip=10.0, kl=0.0)
    found = [loss_and_slope(wide, ratio, a)[0] for ratio, a in [(1.6, 2.0), (0.5, -2.0), (5.0, -2.0), (12.0, -2.0)]]
    assert found == pytest.approx([-3.0, 1.4, 10.0, 20.0], abs=1e-12)


def test_a_huge_difference_of_log_probabilities_is_finite() -> None:
    """Clamped to +- 20: e^20 for A < 0 without a dual clip to speak of, and no gradient."""
    endless = Clipped(dual_clip=1e30, kl=0.0)
    logprobs = vector(0.0, -900.0).requires_grad_()
    loss = endless.terms(logprobs, None, vector(-1.0, 1.0), vector(-900.0, 0.0))
    assert loss.tolist() == pytest.approx([math.exp(20), -math.exp(-20)], rel=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), logprobs)
    assert slope.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("difference", "k3"),
    [
        (math.log(2), 1 - math.log(2)),  # 2 - ln 2 - 1
        (-math.log(2), math.log(2) - 0.5),  # 1/2 + ln 2 - 1
        (5.0, 10.0),  # e^5 - 6 = 142.4, clamped
        (-11.5, 10.0),  # 1e-5 + 11.5 - 1 = 10.5, clamped
        (800.0, 10.0),
        (-9.0, math.exp(-9) + 8),
    ],
)
def test_golden_penalty(difference: float, k3: float) -> None:
    logprobs = vector(-1.0)
    loss = Clipped(kl=0.1).terms(logprobs, logprobs + difference, vector(0.0), logprobs)
    assert loss.item() == pytest.approx(0.1 * k3, abs=1e-12)


@given(st.lists(st.tuples(LOGPROBS, ADVANTAGES, st.floats(-2, 2, allow_subnormal=False)), min_size=1, max_size=8))
def test_at_the_policy_that_sampled_the_gradient_is_that_of_policy_gradient_to_the_bit(
    terms: list[tuple[float, float, float]],
) -> None:
    """|d| <= 2, where k3 is far from its clamp."""
    old, advantage = vector(*(p for p, _, _ in terms)), vector(*(a for _, a, _ in terms))
    reference = old + vector(*(d for _, _, d in terms))
    slopes = []
    for objective in (Clipped(kl=0.3), PolicyGradient(kl=0.3)):
        logprobs = old.clone().requires_grad_()
        loss = objective.terms(logprobs, reference, advantage, old)
        slopes.append(torch.autograd.grad(loss.sum(), logprobs)[0])
    assert torch.equal(*slopes)
    assert not PLAIN.clipped(old, advantage, old).any()


@given(LOGPROBS, LOGPROBS, ADVANTAGES)
def test_the_loss_is_the_formula_written_plainly(new: float, old: float, a: float) -> None:
    ratio = math.exp(new - old)
    loss = max(-a * ratio, -a * min(max(ratio, 0.8), 1.28))
    loss = min(-3.0 * a, loss) if a < 0 else loss
    assert PLAIN.terms(vector(new), None, vector(a), vector(old)).item() == pytest.approx(loss, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"clip_low": -0.1}, r"method\.clip_low is -0\.1"),
        ({"clip_low": 1.1}, r"method\.clip_low is 1\.1"),
        ({"clip_high": -0.2}, r"method\.clip_high is -0\.2"),
        ({"dual_clip": 1.0}, r"method\.dual_clip is 1\.0"),
        ({"kl": -1.0}, r"method\.kl is -1\.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Clipped(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss_temperature", "temperature", "top_p", "is_known"),
    [
        (1.0, 1.0, 1.0, True),
        (1.0, 0.5, 0.9, True),
        (0.5, 0.5, 1.0, True),
        (0.5, 0.5, 0.9, False),
        (0.5, 0.7, 1.0, False),
        (0.7, 1.0, 1.0, False),
    ],
)
def test_the_loss_takes_a_softmax_of_which_log_probabilities_are_recorded(
    loss_temperature: float, temperature: float, top_p: float, is_known: bool
) -> None:
    objective = Clipped(loss_temperature=loss_temperature)
    if is_known:
        objective.check(Circumstances(9, temperature, top_p))
        return
    with pytest.raises(ConfigError, match=rf"loss_temperature is {loss_temperature}.*sampling\.temperature"):
        objective.check(Circumstances(9, temperature, top_p))
