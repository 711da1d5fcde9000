"""The head's loss and gradient against autograd over all logits at once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from creditree.learner.head import Predictions, head_loss, rows_per_chunk, token_logprobs
from creditree.models.transformer import Transformer
from tests.tiny_models import FAMILIES, random_model, tiny

ROW = torch.tensor([0, 0, 0, 1, 3, 3, 4, 6])
"""Several terms on a row, and rows without any."""
TOKEN = torch.tensor([5, 9, 5, 60, 1, 2, 63, 0])
ASKED = Predictions(ROW, TOKEN, ROW.numpy())
WEIGHT = torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0, -1.0, 0.25, 2.0], dtype=torch.float64)


def states(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(7, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def loss_of(logprobs: Tensor, terms: slice) -> Tensor:
    """Something that is not linear in the log-probabilities."""
    return (WEIGHT.to(logprobs.dtype)[terms] * (logprobs.exp() + 0.1 * logprobs.square())).sum()


def plain(transformer: Transformer, hidden: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, loss and gradient by the modules, everything at once."""
    hidden = hidden.clone().requires_grad_()
    norm, head = transformer.ends[1:]
    logits = head(norm(hidden))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logprobs = torch.log_softmax(logits / temperature, -1)[ROW, TOKEN]
    loss = loss_of(logprobs, slice(None))
    return logprobs.detach(), loss.detach(), torch.autograd.grad(loss, hidden)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [1.0, 0.4])
@pytest.mark.parametrize("rows", [None, 1, 2, 3])
def test_loss_gradient_and_logprobs(family: str, temperature: float, rows: int | None) -> None:
    transformer, hidden, asked = tiny(family).transformer, states(), ASKED
    logprobs, loss, grad = plain(transformer, hidden, temperature)
    found, found_grad = head_loss(transformer, hidden, asked, temperature, loss_of, rows)
    assert float(sum(found)) == pytest.approx(float(loss), rel=1e-12)
    assert torch.allclose(found_grad, grad, rtol=0, atol=1e-12)
    assert torch.allclose(token_logprobs(transformer, hidden, asked, temperature, rows), logprobs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_lower_precisions(dtype: torch.dtype, tolerance: float) -> None:
    transformer, hidden, asked = tiny("qwen2", dtype).transformer, states(dtype), ASKED
    logprobs, loss, grad = plain(transformer, hidden, 1.0)
    found, found_grad = head_loss(transformer, hidden, asked, 1.0, loss_of)
    assert float(sum(found)) == pytest.approx(float(loss), rel=tolerance)
    assert found_grad.dtype == dtype
    assert (found_grad - grad).float().norm() < tolerance * grad.float().norm()
    ours = token_logprobs(transformer, hidden, asked, 1.0)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours, logprobs, rtol=tolerance, atol=tolerance)


def test_a_vocabulary_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("qwen2")
    transformer, hidden, asked = Transformer(model), states(), ASKED
    _, _, grad = plain(transformer, hidden, 1.0)
    head: Any = transformer._lean_head
    monkeypatch.setattr(head, "_block", 7)
    assert torch.allclose(head_loss(transformer, hidden, asked, 1.0, loss_of)[1], grad, rtol=0, atol=1e-12)


def test_a_head_that_is_more_than_a_matrix_goes_through_its_module() -> None:
    model = random_model("llama")
    model.lm_head = torch.nn.Linear(32, 64, bias=True, dtype=torch.float64).requires_grad_(False)
    transformer, hidden, asked = Transformer(model), states(), ASKED
    assert transformer._lean_head is None
    logprobs, loss, grad = plain(transformer, hidden, 0.7)
    found, found_grad = head_loss(transformer, hidden, asked, 0.7, loss_of, 3)
    assert float(sum(found)) == pytest.approx(float(loss), rel=1e-12)
    assert torch.allclose(found_grad, grad, rtol=0, atol=1e-12)
    assert torch.allclose(token_logprobs(transformer, hidden, asked, 0.7, 3), logprobs, rtol=0, atol=1e-12)


def test_very_sure_and_very_unlikely_tokens_stay_finite() -> None:
    transformer = tiny("qwen2", torch.float32).transformer
    hidden, asked = 1.0 * states(torch.float32), ASKED
    norm = transformer._norm
    assert norm is not None
    norm.weight.mul_(200.0)
    ours = token_logprobs(transformer, hidden, asked, 1.0)
    plainly = plain(transformer, hidden, 1.0)[0]
    assert float(plainly.min()) < -200
    assert torch.allclose(ours, plainly, rtol=1e-5, atol=1e-4)
    assert torch.isfinite(head_loss(transformer, hidden, asked, 1.0, lambda p, _: p.sum())[1]).all()


def test_nothing_asked_nothing_computed() -> None:
    transformer, none = tiny("qwen2").transformer, torch.zeros(0, dtype=torch.int64)
    hidden, asked = torch.zeros(0, 32, dtype=torch.float64), Predictions(none, none, none.numpy())
    assert len(token_logprobs(transformer, hidden, asked, 1.0)) == 0
    losses, grad = head_loss(transformer, hidden, asked, 1.0, loss_of)
    assert losses == []
    assert grad.shape == (0, 32)


def test_a_chunk_holds_six_million_logits_but_at_least_192_rows() -> None:
    assert rows_per_chunk(512, 20_000, on_host=True) == 10_000  # at most 12,288, so two chunks
    assert rows_per_chunk(32768, 1000, on_host=True) == 167  # at most 192, so six chunks
    assert rows_per_chunk(151936, 200, on_host=True) == 100  # at most 192, so two chunks
    assert rows_per_chunk(151936, 5, on_host=True) == 5
    assert rows_per_chunk(512, 0, on_host=True) == 1
    assert rows_per_chunk(151936, 1000, on_host=False) == 334  # at most 441, so three chunks
