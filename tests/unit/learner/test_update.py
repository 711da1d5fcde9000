"""Looking at an update before it is made: it must say what the update itself would do."""

import math

import pytest
import torch

from creditree.learner.mismatch import Mismatch
from creditree.learner.optimiser import OptimiserSpec
from creditree.learner.update import LARGEST_WEIGHT, objection, stays_sound


def optimiser_of(weights: list[float], grads: list[float], **options: float) -> torch.optim.AdamW:
    matrix = torch.nn.Parameter(torch.tensor(weights))
    matrix.grad = torch.tensor(grads)
    return torch.optim.AdamW([matrix], fused=True, **({"eps": 1e-8, "weight_decay": 0.0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "grad", "rate", "eps", "factor", "sound"),
    [
        (1.0, 1.0, 1e-3, 1e-8, 1.0, True),
        (1.0, 0.0, 1e-3, 1e-300, 1.0, False),  # 0 / (sqrt(0) + 0)
        (1.0, 1.0, 1e300, 1e-8, 1.0, False),
        (0.0, 1.0, 65000.0, 1e-8, 1.0, True),  # the first update moves by the rate
        (0.0, 1.0, 66000.0, 1e-8, 1.0, False),
        (0.0, 1.0, 660.0, 1e-8, 100.0, False),  # by the shrinking that follows it
        (math.nan, 1.0, 1e-3, 1e-8, 1.0, False),
        (1.0, math.inf, 1e-3, 1e-8, 1.0, False),
    ],
)
def test_an_update_is_judged_and_not_made(
    weight: float, grad: float, rate: float, eps: float, factor: float, sound: bool
) -> None:
    optimiser = optimiser_of([weight], [grad], eps=eps)
    before = optimiser.param_groups[0]["params"][0].detach().clone()
    assert stays_sound(optimiser, rate, factor) is sound
    assert torch.equal(optimiser.param_groups[0]["params"][0], before) or math.isnan(weight)
    assert not optimiser.state


def test_the_limit_is_that_of_the_real_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five updates with decay: each time the largest weight that the real one makes is just sound, and no smaller."""
    generator = torch.Generator().manual_seed(3)
    optimiser = optimiser_of([0.5, -1.0, 2.0], [0.0, 0.0, 0.0], lr=0.3, weight_decay=0.1)
    matrix = optimiser.param_groups[0]["params"][0]
    for _ in range(5):
        matrix.grad = torch.randn(3, generator=generator)
        looked = {}
        for share in (0.999, 1.001):
            twin = torch.optim.AdamW(
                [torch.nn.Parameter(matrix.detach().clone())], lr=0.3, weight_decay=0.1, fused=True
            )
            copy = twin.param_groups[0]["params"][0]
            copy.grad = matrix.grad.clone()
            if optimiser.state:
                twin.state[copy] = {name: value.clone() for name, value in optimiser.state[matrix].items()}
            held = {name: value.clone() for name, value in twin.state.get(copy, {}).items()}
            twin.step()
            largest = float(copy.detach().abs().max())
            monkeypatch.setattr("creditree.learner.update.LARGEST_WEIGHT", largest * share)
            looked[share] = stays_sound(optimiser, 0.3)
            assert all(torch.equal(value, optimiser.state[matrix][name]) for name, value in held.items())
        assert looked == {0.999: False, 1.001: True}
        optimiser.step()


def test_pieces_are_looked_at_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditree.learner.update.PIECE", 2)
    assert stays_sound(optimiser_of([0.0] * 5, [1.0] * 5), 1.0)
    assert not stays_sound(optimiser_of([0.0] * 4 + [2 * LARGEST_WEIGHT], [1.0] * 5), 1.0)
    assert not stays_sound(optimiser_of([0.0, 0.0, math.nan, 0.0, 0.0], [1.0] * 5), 1.0)


SPEC = OptimiserSpec(skip_grad_norm=10.0, max_mismatch=0.5)
"""Below: 4 terms that are off by 1.6, 2.4 and NaN nats together are off by .4, .6 and NaN nats each."""


@pytest.mark.parametrize(
    ("loss", "grad_norm", "norm", "off", "words"),
    [
        (1.0, 2.0, 2.0, 1.6, None),
        (math.nan, 2.0, 2.0, 1.6, "the loss is nan"),
        (1.0, math.inf, math.inf, 1.6, "the gradient's norm is inf"),
        (1.0, 2.0, math.nan, 1.6, "the gradient's norm is nan"),
        (1.0, 2.0, 11.0, 1.6, "the gradient's norm is 11, above train.skip_grad_norm 10"),
        (1.0, 2.0, 2.0, 2.4, "who samples and who learns differ by 0.6 nats a token, above train.max_mismatch 0.5"),
        (1.0, 2.0, 2.0, math.nan, "who samples and who learns differ by nan nats a token"),
    ],
)
def test_why_no_update_is_made(loss: float, grad_norm: float, norm: float, off: float, words: str | None) -> None:
    said = objection(loss, grad_norm, norm, Mismatch(4, off, off**2, off), SPEC)
    assert said == words if words is None else (said or "").startswith(words)
    assert objection(1.0, 2.0, 2.0, Mismatch(), SPEC) is None  # nothing was compared
