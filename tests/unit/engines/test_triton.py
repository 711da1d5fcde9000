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
from creditree.engines.static.kernels.ahead import Lookahead, regions
from creditree.engines.static.kernels.launch import Options
from creditree.engines.static.kernels.scratch import Parts, Scratch, model_tiles
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import Looks

pytestmark = pytest.mark.thorough
"""`make test-all` installs Triton; a CPU's torch comes without."""

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
        (Grid(2, 1, 20, 8), Sampling(0.0)),
        (Grid(2, 1, 20, 8), Sampling(0.9, top_p=0.8)),
        (Grid(2, 1, 20, 8, 3), Sampling(0.7, entropies=True)),  # members that share rows
    ],
)
def test_each_way_to_draw(grid: Grid, sampling: Sampling) -> None:
    compare(model_of(QWEN2), grid, sampling, 1, cut)


@pytest.mark.parametrize(
    "targets",
    [
        ("q_proj", "v_proj"),
        ("k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ],
)
def test_adapters_on_any_projection_and_norms_of_heads(targets: tuple[str, ...]) -> None:
    model = model_of(QWEN3)
    first = adapt(model, LoraSpec(rank=3, layers=0.5, targets=targets))
    compare(model, Grid(2, 1, 20, 8), Sampling(0.7), first, lambda step: triton_step(step, {}))


def held(step: DecodeStep) -> TritonStep:
    """Return a step whose products load all their weights before they wait."""
    plain = cut(step)
    return TritonStep(step, plain._parts, plain._scratch, Options(preload=1 << 20))


def test_weights_that_are_loaded_before_the_wait_make_the_same_sums() -> None:
    made: list[TritonStep] = []
    model = model_of(replace(QWEN2, hidden_size=64, intermediate_size=96))
    first = adapt(model, LoraSpec(rank=3, layers=0.5, targets=("q_proj", "v_proj", "gate_proj", "down_proj")))

    def kept(step: DecodeStep) -> TritonStep:
        made.append(held(step))
        return made[-1]

    compare(model, Grid(2, 1, 20, 8), Sampling(0.7), first, kept)
    blocks = {(launch.name, launch.arguments["LORAS"]): launch.arguments["PRELOAD"] for launch in made[0].launches[1:-1]
              if "PRELOAD" in launch.arguments}  # fmt: skip
    # 64 inputs are one block of 64, 96 are three of 32: two beside adapters
    assert blocks == {
        ("heads", 0): 1, ("heads", 2): 1, ("output", 0): 3, ("gate_up", 0): 1, ("gate_up", 1): 1, ("down", 0): 3,
        ("down", 1): 2, ("logits", 0): 0,
    }  # fmt: skip


def test_each_kernel_asks_for_what_comes_after_its_own_weights_and_none_twice() -> None:
    """Matrices of 128, 512 and 256 bytes, of 2 bytes a number; asked for in whole lines of 64 numbers."""
    one, two, three = (torch.zeros(size, dtype=torch.float16) for size in (64, 256, 128))
    weights = [one, None, two, three]

    def asked(each: int, window: int) -> list[list[tuple[int, int]]]:
        found = regions(weights, Lookahead(each, window))
        return [[(region.begin, region.numbers) for region in of_one] for of_one in found]

    # of 256 bytes each: numbers 0 to 127 of the second, its rest, then the third when its turn has come
    assert asked(256, 1 << 20) == [[(0, 128)], [(128, 128)], [(0, 128)], []]
    # no more than 384 bytes past its own: 0 to 127, then 128 to 191
    assert asked(256, 384) == [[(0, 128)], [(128, 64)], [(0, 128)], []]
    # all at once: the second and the third, two regions; nothing is left
    assert asked(1 << 20, 1 << 20) == [[(0, 256), (0, 128)], [], [], []]
    assert asked(100, 1 << 20) == [[], [], [], []]  # less than a line


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
