"""A step in other kernels is compared with the plain one before it is ever taken."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from creditree.engines.engine import Sampling
from creditree.engines.static.grid import Grid
from creditree.engines.static.same import check_same
from creditree.engines.static.step import DecodeStep
from creditree.models.load import Model
from tests.decode_steps import a_step
from tests.tiny_models import tiny


@pytest.mark.parametrize("sampling", [Sampling(0.7), Sampling(0.0), Sampling(0.8, top_p=0.9)])
@pytest.mark.parametrize("grid", [Grid(2, 3, 8, 8), Grid(4, 1, 8, 8, 7)])
def test_the_same_step_is_the_same_and_leaves_the_state_alone(sampling: Sampling, grid: Grid) -> None:
    step = a_step(tiny(), grid, sampling)
    before = [tensor.clone() for tensor in step.buffers.state]
    check_same(step, replace(step))
    assert all(torch.equal(one, other) for one, other in zip(before, step.buffers.state, strict=True))


def other_states(step: DecodeStep) -> None:
    step()
    step.buffers.large["hidden"][:, step.buffers.column - 1] *= 1.01


def no_numbers(step: DecodeStep) -> None:
    step()
    step.buffers.large["hidden"].fill_(torch.nan)


def other_logprobs(step: DecodeStep) -> None:
    step()
    step.buffers.out[1] -= 0.01


def other_tokens(step: DecodeStep) -> None:
    """Draw as if for other uniform numbers, with log-probabilities that are those of the tokens."""
    held = step.buffers.uniform.clone()
    step.buffers.uniform.copy_(1 - held)
    step()
    step.buffers.uniform.copy_(held)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_states, "hidden states"),
        (no_numbers, "hidden states"),
        (other_logprobs, "log-probabilities"),
        (other_tokens, "uniform numbers"),
    ],
)
def test_a_step_that_computes_something_else_is_refused(spoil: Callable[[DecodeStep], None], reason: str) -> None:
    step = a_step(model_of_flat_tokens(), Grid(2, 3, 8, 8), Sampling(1.0))

    with pytest.raises(RuntimeError, match=reason):
        check_same(step, partial(spoil, step))


def model_of_flat_tokens() -> Model:
    """Return a model with much to draw from."""
    model = tiny()
    with torch.no_grad():
        model.transformer.ends[1].weight.mul_(0.1)
    model.transformer.link()
    return model
