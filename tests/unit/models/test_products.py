"""Products in float32 of what is bfloat16: against the exact ones, and that nothing else is touched."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from creditree.models import products
from creditree.models.head import Head
from creditree.models.products import (
    FEWEST_ROWS,
    OUTPUTS,
    ROWS,
    is_widened,
    multiply_wide,
    product,
    product_back,
    wide_product,
)
from tests.tiny_models import other_model

BF16 = torch.bfloat16
ROUNDING = 2.0**-8
"""Numbers of 8 bits are 2^-7 of the power of two below them apart: rounding is off by half of that at most."""
SIZES = [(FEWEST_ROWS, 3, 5), (ROWS + 1, 6, OUTPUTS + 1), (40, OUTPUTS - 1, 7), (2 * ROWS, 2, OUTPUTS), (9, 1, 2)]
"""(states, inputs, outputs): within a block, to its end, and one beyond it, of states and of outputs."""


@pytest.fixture(autouse=True)
def without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that cannot multiply bfloat16."""
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: False)


def drawn(*shape: int, seed: int, dtype: torch.dtype = BF16) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_rounded_once(found: Tensor, exact: Tensor, size: Tensor) -> None:
    """`size`: of the sums' terms together, of which float32 loses some 1e-6."""
    assert found.dtype == BF16
    allowed = ROUNDING * exact.abs() + 2e-6 * size
    assert bool(((found.double() - exact).abs() <= allowed).all())


@pytest.mark.parametrize(("count", "inputs", "outputs"), SIZES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_a_product_is_exact_but_for_one_rounding(
    count: int, inputs: int, outputs: int, bias: bool, residual: bool
) -> None:
    x, weight = drawn(count, inputs, seed=1), drawn(outputs, inputs, seed=2)
    b = drawn(outputs, seed=3) if bias else None
    before = drawn(count, outputs, seed=4) if residual else None
    exact, size = x.double() @ weight.double().T, x.double().abs() @ weight.double().abs().T
    for more in (b, before):
        if more is not None:
            exact, size = exact + more.double(), size + more.double().abs()
    assert is_widened(x)
    assert_rounded_once(product(x, weight, b, before), exact, size)


@pytest.mark.parametrize(("count", "inputs", "outputs"), SIZES)
def test_the_way_back_is_exact_but_for_one_rounding(count: int, inputs: int, outputs: int) -> None:
    grad, weight = drawn(count, outputs, seed=1), drawn(outputs, inputs, seed=2)
    exact, size = grad.double() @ weight.double(), grad.double().abs() @ weight.double().abs()
    assert_rounded_once(product_back(grad, weight), exact, size)


def test_states_may_have_more_dimensions_and_lie_apart() -> None:
    x, weight = drawn(9, 2, 4, seed=1).transpose(0, 1), drawn(6, 4, seed=2)
    assert not x.is_contiguous()
    flat = product(x.reshape(-1, 4).contiguous(), weight)
    assert torch.equal(product(x, weight), flat.view(2, 9, 6))
    assert torch.equal(product_back(flat.view(2, 9, 6), weight), product_back(flat, weight).view(2, 9, 4))


def test_codes_are_weights_of_another_type() -> None:
    codes = torch.randint(-127, 128, (OUTPUTS + 3, 12), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    x, grad = drawn(10, 12, seed=1), drawn(10, OUTPUTS + 3, seed=2)
    assert torch.equal(product(x, codes), product(x, codes.to(BF16)))  # integers up to 256 are exact in bfloat16
    assert torch.equal(product_back(grad, codes), product_back(grad, codes.to(BF16)))
    few = x[:2]
    assert torch.equal(product(few, codes), linear(few, codes.to(BF16)))


def test_a_buffer_is_written_and_returned() -> None:
    x, weight = drawn(9, 4, seed=1), drawn(OUTPUTS + 2, 4, seed=2)
    out = torch.full((9, OUTPUTS + 2), torch.nan, dtype=BF16)
    assert wide_product(x, weight, out=out) is out
    assert torch.equal(out, product(x, weight))


def test_the_head_writes_into_the_rows_that_it_was_given() -> None:
    x, weight = drawn(FEWEST_ROWS, 4, seed=1), drawn(30, 4, seed=2)
    head, buffer = Head(weight), torch.full((FEWEST_ROWS + 3, 30), torch.nan, dtype=BF16)
    logits = head.logits(x, buffer)
    assert logits.data_ptr() == buffer.data_ptr()
    assert torch.equal(logits, product(x, weight))
    assert bool(buffer[FEWEST_ROWS:].isnan().all())


def _instructions(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: True)
    return drawn(20, 6, seed=1)


@pytest.mark.parametrize(
    "states",
    [
        _instructions,
        lambda _: drawn(FEWEST_ROWS - 1, 6, seed=1),
        lambda _: drawn(20, 6, seed=1, dtype=torch.float32),
        lambda _: drawn(20, 6, seed=1, dtype=torch.float64),
        lambda _: drawn(20, 6, seed=1).to("meta"),
    ],
    ids=["a processor with instructions", "few rows", "float32", "float64", "another device"],
)
def test_everything_else_is_torch_s_own_product(
    states: Callable[[pytest.MonkeyPatch], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = states(monkeypatch)
    weight = drawn(5, 6, seed=2).to(x.device, x.dtype)
    bias, residual = drawn(5, seed=3).to(weight), drawn(len(x), 5, seed=4).to(weight)
    assert not is_widened(x)
    if x.is_meta:
        return
    assert torch.equal(product(x, weight, bias), linear(x, weight, bias))
    assert torch.equal(product(x, weight, bias, residual), torch.addmm(residual, x, weight.T) + bias)
    assert torch.equal(product_back(residual, weight), residual @ weight)


@pytest.mark.parametrize("kind", ["phi3", "gpt2", "gemma3_text"])
def test_a_model_that_is_run_whole_is_as_near_to_the_truth_as_with_torch_s_products(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The truth: the same weights in float64. Logits, and the gradient of the embeddings through all layers."""
    gaps = {}
    for instructions in (False, True):
        monkeypatch.setattr(products, "multiplies_bfloat16", lambda there=instructions: there)
        model = other_model(kind, BF16).requires_grad_(False)
        multiply_wide(model)
        found, exact = run(model), run(other_model(kind, BF16).double().requires_grad_(False))
        pairs = zip(found, exact, strict=True)
        gaps[instructions] = [float((one.double() - truth).norm() / truth.norm()) for one, truth in pairs]
        wide = [module for module in model.modules() if "forward" in vars(module)]
        assert bool(wide) is not instructions
    assert all(0 < ours < 1.25 * theirs < 0.25 for ours, theirs in zip(gaps[False], gaps[True], strict=True)), gaps


def run(model: Any) -> tuple[Tensor, Tensor]:
    """Logits [20, V] of some tokens, and the gradient of a sum of them with respect to the embeddings."""
    states = model.get_input_embeddings()(torch.arange(20)[None] % 13 + 2).detach().requires_grad_()
    logits = model(inputs_embeds=states, use_cache=False).logits[0]
    (logits.float() * torch.arange(logits.numel()).sin().view_as(logits)).sum().backward()
    assert states.grad is not None
    return logits.detach(), states.grad


def test_weights_that_learn_have_their_gradient_from_torch() -> None:
    layer = torch.nn.Linear(6, 5, dtype=BF16)
    multiply_wide(layer)
    x = drawn(20, 6, seed=1)
    assert torch.equal(layer(x), linear(x, layer.weight, layer.bias))
    layer(x).sum().backward()
    assert layer.weight.grad is not None
