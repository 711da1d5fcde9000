"""Launches of the Triton kernels of a decode step: which tensors, which tiles."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from creditree.engines.static.kernels.ahead import Lookahead, Region
from creditree.engines.static.kernels.attention import attend
from creditree.engines.static.kernels.ends import embed
from creditree.engines.static.kernels.products import product
from creditree.engines.static.kernels.tiles import Kind, Looks, Tiles, power_of_two
from creditree.models.projection import Lora

Pdl = Literal["none", "late", "early"]
_WARPS = 4
_THREADS = 16
_PRELOADED_BESIDE_ADAPTERS = 2
"""Blocks that a product with adapters loads before it waits, at most: with more it runs out of registers."""


@dataclass(frozen=True, eq=False, slots=True)
class Launch:
    """A kernel with its arguments, written out once: only the contents of tensors may change."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    settings: dict[str, Any]
    name: str = ""

    def __call__(self) -> None:
        """Launch it."""
        self.kernel[self.grid](**self.arguments, **self.settings)

    @property
    def constants(self) -> dict[str, Any]:
        """What is no tensor: kernels are alike where that is."""
        return {name: value for name, value in self.arguments.items() if not isinstance(value, Tensor)}

    def compile(self) -> None:
        """Compile the kernel for the present device, unless that is done."""
        if hasattr(self.kernel, "warmup"):  # under Triton's interpreter nothing is compiled
            self.kernel.warmup(**self.arguments, **self.settings, grid=self.grid)


def compile_ahead(launches: Sequence[Launch]) -> None:
    """Compile kernels side by side, where Triton can."""
    different = {f"{launch.kernel} {launch.constants} {launch.settings}": launch for launch in launches}
    try:
        from triton import AsyncCompileMode
    except ImportError:
        return
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool, AsyncCompileMode(pool, ignore_errors=True):
        for launch in different.values():
            launch.compile()


@dataclass(frozen=True, slots=True)
class Options:
    """When a kernel lets the next one begin, which then asks for its weights and waits for this one's end.

    `pdl` (programmatic dependent launch): "none" when it has ended;  "late" when its sums are done;  "early" as soon as
    it has what came before. No kernel begins before the last but one has ended. `preload`: numbers of its weights that
    a program of a product loads before it waits;  `lookahead`: how far kernels ask for the weights of others. Neither
    is part of a form that decoding takes: `benchmarks/gpu_ways.py` measures what they are worth.
    """

    pdl: Pdl = "none"
    preload: int = 0
    lookahead: Lookahead | None = None

    def lines(self, numbers: int) -> int:
        """Return the lines of memory, of 64 numbers, that a kernel asks for before it waits."""
        return 0 if self.pdl == "none" or self.preload else power_of_two(-(-numbers // 64))

    def blocks(self, product: "Product", tiles: Tiles) -> int:
        """Return how many of a program's blocks of weights it loads before it waits: only blocks that are whole."""
        inputs, step = int(product.x.shape[1]), tiles.block_k * tiles.splits
        # of the many programs of the logits only the first begin before the wait
        if product.kind == "logits" or inputs % step or product.outputs % tiles.block_n:
            return 0
        block = tiles.block_n * tiles.block_k * (2 if product.kind == "gated" else 1)
        most = _PRELOADED_BESIDE_ADAPTERS if product.adapters.loras else inputs // step
        return min(self.preload // block, inputs // step, most)


@dataclass(frozen=True, eq=False, slots=True)
class Adapters:
    """The adapters on one product: of one rank, precision and scaling, at ascending columns."""

    loras: tuple[Lora, ...]

    def __post_init__(self) -> None:
        kinds = {(len(lora.a), lora.a.dtype, lora.b.dtype, lora.scaling) for lora in self.loras}
        if len(kinds) > 1 or len(self.loras) > 3:
            raise RuntimeError("adapters of one product differ in rank, precision or scaling")
        if any(lora.dropout > 0 and lora.module.training for lora in self.loras):
            raise RuntimeError("an adapter drops inputs, as in training")

    def arguments(self, nothing: Tensor) -> dict[str, Any]:
        """Return the arguments of `product` that say where they are."""
        loras = self.loras
        rank = len(loras[0].a) if loras else 0
        constants: dict[str, Any] = {"LORAS": len(loras), "RANK": rank, "RANK_BLOCK": max(16, power_of_two(rank))}
        constants |= {
            "lora_a": loras[0].a.detach() if loras else nothing,
            "lora_b": loras[0].b.detach() if loras else nothing,
            "scaling": loras[0].scaling if loras else 0.0,
        }
        for place, name in ((1, "second"), (2, "third")):
            for matrix in ("a", "b"):
                there = len(loras) > place
                constants[f"{matrix}_{name}"] = _apart(loras[0], loras[place], matrix) if there else 0
        for place in range(3):
            there = len(loras) > place
            constants[f"START_{place + 1}"] = loras[place].start if there else 0
            constants[f"STOP_{place + 1}"] = loras[place].stop if there else 0
        return constants


def _apart(first: Lora, other: Lora, matrix: str) -> int:
    """Return how many numbers the matrix of another adapter lies behind that of the first."""
    one, two = getattr(first, matrix), getattr(other, matrix)
    return int(two.data_ptr() - one.data_ptr()) // int(one.element_size())


@dataclass(frozen=True, eq=False, slots=True)
class Room:
    """Sums of parts, and tickets, which are 0 between kernels: they take turns with both. `rows` are in use."""

    rows: int
    block_m: int
    partial: Tensor
    tickets: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Next:
    """What a product of hidden states leaves for the norm to come; `kept` [rows, T, width], or None."""

    scaled: Tensor
    norm: Tensor
    squares: Tensor
    column: Tensor
    kept: Tensor | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """One product: `x` [block_m, inputs] times `weight` [outputs, inputs] ([2 outputs, inputs] if gated) into `out`.

    `squares` [parts, block_m], `epsilon`: of the norm of x;  `after`: of kind "residual";  `stats`, `temperature`: of
    kind "logits".
    """

    kind: Kind
    x: Tensor
    weight: Tensor
    out: Tensor
    outputs: int
    bias: Tensor | None = None
    squares: Tensor | None = None
    epsilon: float = 0.0
    adapters: Adapters = field(default_factory=lambda: Adapters(()))
    after: Next | None = None
    stats: Tensor | None = None
    temperature: float = 1.0

    def launch(self, room: Room, tiles: Tiles, options: Options) -> Launch:
        """Return what launches it. The two halves of a gated product are not added up from parts."""
        if self.kind == "gated" and tiles.splits > 1:
            raise RuntimeError("a gated product is not computed in parts")
        after, nothing = self.after, self.out
        kept = after.kept if after is not None else None
        arguments: dict[str, Any] = {
            "x": self.x,
            "weight": self.weight,
            "bias": nothing if self.bias is None else self.bias,
            "squares": nothing if self.squares is None else self.squares,
            "out": self.out,
            "scaled": nothing if after is None else after.scaled,
            "next_norm": nothing if after is None else after.norm,
            "next_squares": nothing if after is None else after.squares,
            "kept": nothing if kept is None else kept,
            "column": nothing if after is None else after.column,
            "stats": nothing if self.stats is None else self.stats,
            "partial": room.partial,
            "tickets": room.tickets,
            **_no_ahead(self.weight),
            "epsilon": self.epsilon,
            "temperature": self.temperature,
            "KIND": self.kind,
            "ROWS": room.rows,
            "INPUTS": self.x.shape[1],
            "OUTPUTS": self.outputs,
            "BIAS": self.bias is not None,
            "PARTS": 1 if self.squares is None else len(self.squares),
            "KEPT_LENGTH": 0 if kept is None else kept.shape[1],
            "BLOCK_M": room.block_m,
            "BLOCK_N": tiles.block_n,
            "BLOCK_K": tiles.block_k,
            "SPLITS": tiles.splits,
            # of the many programs of the logits only the first begin before the wait
            "PREFETCH": 0 if self.kind == "logits" else options.lines(tiles.stages * tiles.block_k),
            "PRELOAD": options.blocks(self, tiles),
            "PDL": options.pdl,
            **self.adapters.arguments(nothing),
        }
        grid = (tiles.count(self.outputs), tiles.splits)
        return launch_of(product, grid, arguments, tiles.warps, tiles.stages, options)


def _no_ahead(nothing: Tensor) -> dict[str, Any]:
    """Return the arguments of a kernel that asks for no weights of others."""
    named = {"ahead": nothing, "ahead_second": nothing, "ahead_numbers": 0, "ahead_second_numbers": 0}
    return named | {"AHEAD": 0}


def asking(launch: Launch, regions: Sequence[Region]) -> Launch:
    """Return a launch that asks for the weights of others, too."""
    arguments = dict(launch.arguments)
    for name, region in zip(("ahead", "ahead_second"), regions, strict=False):
        arguments |= {name: region.tensor, f"{name}_numbers": region.numbers}
    arguments["AHEAD"] = 32 * launch.settings["num_warps"]
    return replace(launch, arguments=arguments)


def launch_of(
    kernel: Any, grid: Sequence[int], arguments: dict[str, Any], warps: int, stages: int, options: Options
) -> Launch:
    """Return the launch of a kernel."""
    extra = {"launch_pdl": True} if options.pdl != "none" else {}
    return Launch(kernel, tuple(grid), arguments, {"num_warps": warps, "num_stages": stages, **extra})


def embed_launch(table: Tensor, token: Tensor, states: Tensor, after: Next, options: Options) -> Launch:
    """Return what embeds `token` [rows] into `states` [block_m, width]."""
    width = states.shape[1]
    arguments: dict[str, Any] = {
        "table": table,
        "token": token,
        "norm": after.norm,
        "states": states,
        "scaled": after.scaled,
        "squares": after.squares,
        "kept": states if after.kept is None else after.kept,
        "column": after.column,
        "WIDTH": width,
        "WIDTH_BLOCK": power_of_two(width),
        "PARTS": len(after.squares),
        "KEPT_LENGTH": 0 if after.kept is None else after.kept.shape[1],
        "BLOCK_M": len(states),
        "PDL": options.pdl,
    }
    return launch_of(embed, (len(token),), arguments, _WARPS, 1, options)


@dataclass(frozen=True, eq=False, slots=True)
class Attention:
    """One layer's attention: tensors as `attend` describes them. `scaling`: of the scores."""

    heads: Tensor
    rope: tuple[Tensor, Tensor]
    start: Tensor
    column: Tensor
    context_keys: Tensor
    context_values: Tensor
    keys: Tensor
    values: Tensor
    out: Tensor
    scaling: float
    head_norm: Tensor | None = None
    epsilon: float = 0.0

    @property
    def queries(self) -> int:
        """Query heads."""
        return int(self.out.shape[1]) // int(self.keys.shape[-1])

    @property
    def fold(self) -> int:
        """Query heads that share a key head, padded."""
        return max(16, power_of_two(self.queries // int(self.keys.shape[1])))

    def launch(self, room: Room, looks: Looks, options: Options) -> Launch:
        """Return what launches it."""
        _, kv, each, length, size = self.keys.shape
        arguments: dict[str, Any] = {
            "heads": self.heads,
            "cos": self.rope[0],
            "sin": self.rope[1],
            "start": self.start,
            "column": self.column,
            "context_keys": self.context_keys,
            "context_values": self.context_values,
            "keys": self.keys,
            "values": self.values,
            "head_norm": self.out if self.head_norm is None else self.head_norm,
            "out": self.out,
            "partial": room.partial,
            "tickets": room.tickets,
            **_no_ahead(self.out),
            "scaling": self.scaling,
            "epsilon": self.epsilon,
            "EACH": each,
            "CONTEXT": self.context_keys.shape[2],
            "LENGTH": length,
            "QUERIES": self.queries,
            "KV": kv,
            "SIZE": size,
            "FOLD": self.fold,
            "HEAD_NORM": self.head_norm is not None,
            "BLOCK_T": looks.block_t,
            "SPLITS": looks.splits,
            "PREFETCH": options.lines(looks.block_t * size),
            "PDL": options.pdl,
        }
        return launch_of(attend, (room.rows, kv, looks.splits), arguments, looks.warps, looks.stages, options)
