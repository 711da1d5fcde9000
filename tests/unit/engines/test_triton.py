"""The step in Triton kernels computes what the plain step computes. On a CPU, by Triton's interpreter."""

import math
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from creditree.engines.engine import Sampling
from creditree.engines.static.graphs import Step
from creditree.engines.static.grid import Grid
from creditree.engines.static.same import check_same
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.triton_form import triton_step
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model
from creditree.models.quantise import quantise
from creditree.models.random_weights import byte_tokenizer, random_model
from creditree.models.shapes import Shape
from creditree.models.transformer import Transformer
from creditree.rng import Key
from tests.decode_steps import a_step

pytest.importorskip("triton", reason="Triton is not installed")
if torch.cuda.is_available():
    pytest.skip("on a GPU, benchmarks/gpu_kernels.py compares the kernels", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("Triton's interpreter is off (TRITON_INTERPRET=1)", allow_module_level=True)

from creditree.engines.static.kernels import tune
from creditree.engines.static.kernels.scratch import Parts, Scratch, model_tiles
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import Looks
from creditree.engines.static.kernels.whole import Whole

QWEN2 = Shape(2, 48, 6, 2, 16, 80, 150, 128, qkv_bias=True)
QWEN3 = Shape(2, 64, 4, 4, 32, 48, 130, 128, qk_norm=True, tied=False)


def model_of(shape: Shape, dtype: torch.dtype = torch.float32) -> Model:
    """Return a random model with norms and biases that matter."""
    torch.manual_seed(0)
    model = random_model(shape, dtype, "cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.mul_(3)
    return Model("random", Transformer(model), byte_tokenizer(shape.vocab_size))


def adapt(model: Model, spec: LoraSpec) -> int:
    """Put an adapter on that changes something; return its first layer."""
    adapter = Adapter(model, spec, Key.of(0))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.1 * torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1)).to(matrix.dtype))
    return adapter.first_layer


def cut(step: DecodeStep, splits: int = 1, looks: int = 1) -> TritonStep:
    """Return a step with products and keys cut into so many parts."""
    parts = Parts.of(step.transformer)
    found = model_tiles(parts, 16)
    tiles = {name: replace(found[name], splits=splits) for name in ("heads", "output", "down")}
    return TritonStep(step, parts, Scratch.of(parts, 16, tiles, Looks(looks, 16)))


@torch.no_grad()
def compare(model: Model, grid: Grid, sampling: Sampling, keep_layer: int, made: Callable[[DecodeStep], Step]) -> None:
    """Make two steps in both forms, and compare everything that they leave, to what float32 allows."""
    plain, twin = (a_step(model, grid, sampling, keep_layer) for _ in range(2))
    other = made(twin)
    plain()
    other()
    ours, theirs = twin.buffers, plain.buffers
    for one, two in zip(ours.state, theirs.state, strict=True):
        assert torch.equal(one, two)
    for name in ("hidden", "trunk", "keys", "values"):
        torch.testing.assert_close(ours.large[name], theirs.large[name], rtol=1e-4, atol=1e-5)
    kinds = 4 if sampling.entropies else 3
    torch.testing.assert_close(ours.out[:kinds], theirs.out[:kinds], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "sampling"),
    [
        (Grid(1, 2, 20, 8), Sampling(0.7, entropies=True)),
        pytest.param(Grid(2, 1, 20, 8), Sampling(0.0), marks=pytest.mark.thorough),
        pytest.param(Grid(2, 1, 20, 8), Sampling(0.9, top_p=0.8), marks=pytest.mark.thorough),
        (Grid(2, 1, 20, 8, 3), Sampling(0.7, entropies=True)),  # members that share rows
    ],
)
def test_each_way_to_draw(grid: Grid, sampling: Sampling) -> None:
    compare(model_of(QWEN2), grid, sampling, 1, cut)


@pytest.mark.parametrize(
    "targets",
    [
        ("q_proj", "v_proj"),
        pytest.param(("k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), marks=pytest.mark.thorough),
    ],
)
def test_adapters_on_any_projection_and_norms_of_heads(targets: tuple[str, ...]) -> None:
    model = model_of(QWEN3)
    first = adapt(model, LoraSpec(rank=3, layers=0.5, targets=targets))
    compare(model, Grid(2, 1, 20, 8), Sampling(0.7), first, lambda step: triton_step(step, {}))


def by_layers(step: DecodeStep, splits: int = 1, looks: int = 1) -> TritonStep:
    """Return a step whose layers are phases of one kernel, which three programs do, launched apart."""
    parts = Parts.of(step.transformer)
    found = model_tiles(parts, 16)
    tiles = {name: replace(found[name], splits=splits) for name in ("heads", "output", "down")}
    scratch = Scratch.of(parts, 16, tiles, Looks(looks, 16))
    return TritonStep(step, parts, scratch, whole=Whole(3, apart=True))


def test_whole_layers() -> None:
    model = model_of(QWEN3)
    first = adapt(model, LoraSpec(rank=3, layers=0.5, targets=("q_proj", "v_proj", "down_proj")))
    compare(model, Grid(2, 1, 20, 8), Sampling(0.7), first, by_layers)


def test_whole_layers_in_parts() -> None:
    compare(model_of(QWEN2), Grid(1, 3, 40, 8), Sampling(0.7), 1, lambda step: by_layers(step, splits=3, looks=3))


def test_parts_are_added_up() -> None:
    compare(model_of(QWEN2), Grid(2, 1, 40, 8), Sampling(0.7), 1, lambda step: cut(step, splits=3, looks=3))


@torch.no_grad()
def test_low_precision_is_the_plain_step_but_for_rounding() -> None:
    """In float16: the interpreter takes bfloat16 in products for whole numbers."""
    model = model_of(QWEN2, torch.float16)
    adapt(model, LoraSpec(rank=2, layers=0.5))
    step = a_step(model, Grid(2, 1, 20, 8), Sampling(0.7))
    check_same(step, cut(step, splits=3, looks=2))


@torch.no_grad()
def test_the_tiles_that_measure_fastest_are_taken_and_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more programs the slower, says the clock: one part of the keys, the widest tiles."""
    monkeypatch.setattr(tune, "_seconds", lambda launches: float(math.prod(launches[0].grid)) / len(launches))

    def made(step: DecodeStep) -> TritonStep:
        parts = Parts.of(step.transformer)
        column = step.buffers.column.clone()
        scratch, times = tune.tuned(step, parts, 16)
        assert torch.equal(step.buffers.column, column)
        assert [len(times[name]) for name in ("gate_up", "attention")] == [2, 5]
        # 48 outputs: tiles of 32, or one of 64
        assert scratch.tiles["gate_up"].block_n == 64
        assert scratch.looks.splits == 1
        return TritonStep(step, parts, scratch)

    compare(model_of(QWEN3), Grid(2, 1, 20, 8), Sampling(0.7), 1, made)


def test_what_kernels_cannot_do_is_said() -> None:
    refused: list[tuple[Model, Grid, str]] = [
        (model_of(QWEN2, torch.float64), Grid(1, 1, 8, 8), "no kernels in torch.float64"),
        (model_of(replace(QWEN2, head_dim=8)), Grid(1, 1, 8, 8), "heads of 8"),
        (model_of(QWEN2), Grid(129, 1, 8, 8), "129 rows are more than 128"),
    ]
    for model, grid, reason in refused:
        with pytest.raises(RuntimeError, match=reason):
            triton_step(a_step(model, grid, Sampling(1.0)), {})


def test_quantised_matrices_are_refused() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model = model_of(QWEN2)
    quantise(model.transformer.model, "int8", "cpu")
    model.transformer.link()
    with pytest.raises(RuntimeError, match="quantised"):
        triton_step(a_step(model, Grid(1, 1, 8, 8), Sampling(1.0)), {})
