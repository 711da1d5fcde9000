"""Grouped-query attention against repeated keys and a plain softmax, and the registered function without a plan."""

import pytest
import torch
from torch import Tensor

from creditree.models.attention import ATTENTION, grouped_attention
from tests.tiny_models import FAMILIES, random_model


def naive_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """Attend head by head, with the keys and values of each query head looked up."""
    batch, heads, length, size = query.shape
    out = torch.zeros(batch, heads, length, size, dtype=query.dtype)
    shared = heads // key.shape[1]
    for b in range(batch):
        for head in range(heads):
            scores = scaling * query[b, head] @ key[b, head // shared].T
            if mask is not None:
                scores = scores.masked_fill(~mask[b if len(mask) > 1 else 0, 0], -torch.inf)
            out[b, head] = torch.softmax(scores, -1) @ value[b, head // shared]
    return out


def some_mask(kind: str, batch: int, length: int, keys: int, generator: torch.Generator) -> Tensor | None:
    """Return no mask, one for all rows of the batch, or one for each; every query sees at least one key."""
    if kind == "none":
        return None
    rows = batch if kind == "own" else 1
    mask = torch.rand(rows, 1, length, keys, generator=generator) < 0.5
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize(("length", "keys"), [(1, 7), (5, 5), (3, 8)])
def test_grouped_attention_equals_the_naive_one(heads: int, kv_heads: int, kind: str, length: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(heads * 100 + kv_heads * 10 + length)
    shapes = [(3, heads, length, 8), (3, kv_heads, keys, 8), (3, kv_heads, keys, 8)]
    query, key, value = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    for tensor in (query, key, value):
        tensor.requires_grad_()
    mask = some_mask(kind, 3, length, keys, generator)
    ours = grouped_attention(query, key, value, mask, 0.4)
    plain = naive_attention(query, key, value, mask, 0.4)
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)
    direction = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    found = torch.autograd.grad((ours * direction).sum(), (query, key, value))
    expected = torch.autograd.grad((plain * direction).sum(), (query, key, value))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_heads_that_share_keys_are_neighbours() -> None:
    """Query heads 0 and 1 read key head 0, heads 2 and 3 read key head 1: not 0 and 2, 1 and 3."""
    value = torch.tensor([[[[1.0]], [[2.0]]]])
    out = grouped_attention(torch.zeros(1, 4, 1, 1), torch.zeros(1, 2, 1, 1), value, None, 1.0)
    assert out.flatten().tolist() == [1.0, 1.0, 2.0, 2.0]


def test_the_scaling_is_the_callers() -> None:
    query, key = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0], [1.0]]]])
    value = torch.tensor([[[[0.0], [1.0]]]])
    for scaling in (0.5, 2.0):
        out = grouped_attention(query, key, value, None, scaling)
        assert out.item() == pytest.approx(torch.sigmoid(torch.tensor(scaling)).item())


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_plan_the_registered_function_is_plain_attention(family: str) -> None:
    """Also with padding, so that a mask arrives: whatever else calls the model keeps working."""
    model = random_model(family)
    assert model.config._attn_implementation == ATTENTION
    ids = torch.arange(24).reshape(2, 12) % 50 + 3
    padding = torch.ones(2, 12, dtype=torch.int64)
    padding[0, :4] = 0
    with torch.no_grad():
        ours = model(ids, attention_mask=padding, use_cache=False).logits
        model.set_attn_implementation("sdpa")
        plain = model(ids, attention_mask=padding, use_cache=False).logits
    assert torch.allclose(ours[1], plain[1], rtol=0, atol=1e-10)
    assert torch.allclose(ours[0, 4:], plain[0, 4:], rtol=0, atol=1e-10)
