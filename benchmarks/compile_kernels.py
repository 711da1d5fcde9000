"""Compile the Triton kernels of a decode step for a GPU that need not be there, at the sizes of real models.

    PYTHONPATH=src:. python benchmarks/compile_kernels.py [--model NAME ...] [--rows 8 50] [--arch 90]

Nothing runs: tensors have shapes and no contents. Each different kernel is compiled down to machine code, and its
registers, spilled bytes and shared memory are printed. Exit status 1 where one does not compile, or needs more shared
memory than a processor of the GPU has.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `benchmarks`, where this file is run by its path
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid, row_bucket
from creditree.engines.static.kernels.launch import Launch, Options
from creditree.engines.static.kernels.scratch import Parts, Scratch
from creditree.engines.static.kernels.step import TritonStep
from creditree.engines.static.kernels.tiles import row_block
from creditree.engines.static.step import DecodeStep
from creditree.models.lean import Heads, LeanLayer, Rest
from creditree.models.norm import Norm
from creditree.models.projection import Dense, Lora, Projection
from creditree.models.shapes import PUBLIC_SHAPES, Shape

SHARED_BYTES = 227 << 10
META = torch.device("meta")
TYPES = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
}


def empty(*size: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(size, dtype=dtype, device=META)


def lora(inputs: int, start: int, stop: int, rank: int = 16) -> Lora:
    module = SimpleNamespace(disable_adapters=False, scaling={"default": 2.0}, training=False)
    a, b = empty(rank, inputs, dtype=torch.float32), empty(stop - start, rank, dtype=torch.float32)
    return Lora(module, "default", a, b, 0.0, start, stop)


def layer_of(shape: Shape, *, adapted: bool) -> LeanLayer:
    """Return a layer of a shape, with adapters on queries and values."""
    width, size = shape.hidden_size, shape.head_dim
    queries, keys = shape.num_heads * size, shape.num_kv_heads * size
    outputs = queries + 2 * keys
    loras = (lora(width, 0, queries), lora(width, queries + keys, outputs)) if adapted else ()
    qkv = Projection(Dense(empty(outputs, width), empty(outputs) if shape.qkv_bias else None), loras)
    turned = (shape.num_heads, shape.num_kv_heads)
    head_norm = Norm(empty(sum(turned), size), 1e-6) if shape.qk_norm else None
    heads = Heads(Norm(empty(width), 1e-6), qkv, head_norm, turned, shape.num_kv_heads)
    rest = Rest(
        Projection(Dense(empty(width, queries), None)),
        Norm(empty(width), 1e-6),
        Projection(Dense(empty(2 * shape.intermediate_size, width), None)),
        Projection(Dense(empty(width, shape.intermediate_size), None)),
    )
    return LeanLayer(0, size**-0.5, (heads, heads, heads), rest)


def step_of(shape: Shape, rows: int, sampling: Sampling, options: Options) -> TritonStep:
    """Return a step of a model of one layer without and one with adapters."""
    layers = (layer_of(shape, adapted=False), layer_of(shape, adapted=True))
    table = empty(shape.vocab_size, shape.hidden_size)
    parts = Parts(layers, table, empty(shape.hidden_size), 1e-6, table)
    model: Any = SimpleNamespace(
        device=META,
        dtype=torch.bfloat16,
        num_layers=2,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        hidden_size=shape.hidden_size,
    )
    grid = Grid(1, row_bucket(rows, 1), 128, 256)
    arena = Arena(model, keeps_trunk=True)
    arena.grow(grid)
    angles = empty(512, shape.head_dim)
    buffers = Buffers.of(grid, model, arena.views(grid), (angles, angles))
    ends = empty(2, dtype=torch.int64)
    plain = DecodeStep(cast(Any, model), buffers, sampling, 256, ends, 1)
    block_m = row_block(grid.rows)
    return TritonStep(plain, parts, Scratch.of(parts, block_m), options)


def source(launch: Launch, pdl: bool) -> ASTSource:
    """Return a kernel with the types of its arguments, as a launch would find them."""
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for place, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
            constants[(place,)] = value
        elif isinstance(value, Tensor):
            signature[parameter.name] = TYPES[value.dtype]
            attributes[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i64"
            if not isinstance(value, float):
                attributes[(place,)] = [["tt.divisibility", 16]]
    return ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)


def usage(cubin: bytes) -> dict[str, int]:
    """Return registers, bytes of stack and of shared memory, as the disassembler says, or nothing without one."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.is_file():
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=False).stdout
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


def compiled(step: TritonStep, target: GPUTarget, done: set[str]) -> Iterator[tuple[str, str, bool]]:
    """Compile each kernel that was not compiled before; yield its name, what it takes, and whether it can run."""
    for launch in step.launches:
        constants = {name: value for name, value in launch.arguments.items() if not isinstance(value, Tensor)}
        pdl = bool(launch.settings.get("launch_pdl"))
        key = f"{launch.kernel.__name__} {constants} {launch.settings}"
        if key in done:
            continue
        done.add(key)
        tile = [constants.get(name, "") for name in ("KIND", "LORAS", "BLOCK_M", "BLOCK_N", "BLOCK_K", "SPLITS")]
        name = f"{launch.kernel.__name__} {' '.join(map(str, tile))} grid {launch.grid}{' pdl' if pdl else ''}"
        try:
            settings = {**launch.settings}
            made: Any = triton.compile(source(launch, pdl), target=target, options=settings)
        except Exception as error:
            yield name, f"{type(error).__name__}: {str(error)[:600]}", False
            continue
        found = usage(made.asm["cubin"]) | {"shared": made.metadata.shared}
        yield name, " ".join(f"{one} {number}" for one, number in found.items()), made.metadata.shared <= SHARED_BYTES


def main() -> None:
    """Compile, print, and exit with what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["Qwen/Qwen2-1.5B", "Qwen/Qwen2.5-0.5B"], choices=PUBLIC_SHAPES)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50])
    parser.add_argument("--arch", type=int, default=90)
    parser.add_argument("--plain", action="store_true", help="without programmatic dependent launches")
    options = parser.parse_args()
    target = GPUTarget("cuda", options.arch, 32)
    works, done = True, set[str]()
    for model in options.model:
        for rows in options.rows:
            for sampling in (Sampling(0.7, entropies=True), Sampling(0.0)):
                launched = Options() if options.plain else Options("late")
                step = step_of(PUBLIC_SHAPES[model], rows, sampling, launched)
                for name, text, runs in compiled(step, target, done):
                    works = works and runs
                    print(f"{'' if runs else 'FAILED '}{model} {rows} rows: {name}: {text}", flush=True)
    sys.exit(0 if works else 1)


if __name__ == "__main__":
    main()
