"""A decode step in Triton kernels: five for each layer, three around them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Buffers
from creditree.engines.static.kernels.ahead import regions
from creditree.engines.static.kernels.draws import draw
from creditree.engines.static.kernels.launch import (
    Adapters,
    Attention,
    Launch,
    Next,
    Options,
    Product,
    Room,
    asking,
    embed_launch,
    launch_of,
)
from creditree.engines.static.kernels.scratch import Parts, Scratch, products_of
from creditree.engines.static.kernels.tiles import MOST_ROWS, looks_of, power_of_two
from creditree.engines.static.step import DecodeStep
from creditree.models.lean import LeanLayer


class TritonStep:
    """Does what a plain `DecodeStep` does, for its buffers, with `scratch` memory that must outlive what is recorded.

    Rounding differs: sums stay in float32 until the end of each kernel. RuntimeError, in one sentence, for what the
    kernels cannot do.
    """

    def __init__(self, plain: DecodeStep, parts: Parts, scratch: Scratch, options: Options | None = None) -> None:
        rows = plain.buffers.grid.rows
        if rows > MOST_ROWS:
            raise RuntimeError(f"{rows} rows are more than {MOST_ROWS}")
        self._plain, self._parts, self._scratch = plain, parts, scratch
        self._options = options or Options()
        self._room = Room(rows, len(scratch.states), scratch.partial, scratch.tickets)
        _, kv, _, length, size = plain.buffers.large["keys"][0].shape
        many = looks_of(len(scratch.states) * kv, plain.buffers.grid.context + length, 2 * size * parts.head.itemsize)
        self._looks = many if many.splits > 1 else scratch.looks
        self._launches = self._made()

    def __call__(self) -> None:
        """Forward the tokens at `column`, draw those of the next column, and move on."""
        for launch in self._launches:
            launch()

    @property
    def launches(self) -> list[Launch]:
        """The kernels of the step, in order."""
        return [launch for launch in self._launches if isinstance(launch, Launch)]

    def _made(self) -> list[Callable[[], None]]:
        to, scratch, options, parts = self._plain.buffers, self._scratch, self._options, self._parts
        first = embed_launch(parts.embedding, to.token, scratch.states, self._next(0), options)
        launched = [launch for index in range(len(parts.layers)) for launch in self._layer(index)]
        logits = Product(
            "logits", scratch.scaled, parts.head, scratch.logits, len(parts.head), squares=scratch.squares[0],
            epsilon=parts.epsilon, stats=scratch.stats, temperature=self._plain.sampling.temperature or 1.0,
        )  # fmt: skip
        launched.append(replace(logits.launch(self._room, scratch.tiles["logits"], options), name="logits"))
        if options.lookahead is not None:
            plan = regions([launch.arguments.get("weight") for launch in launched], options.lookahead)
            launched = [asking(launch, ahead) for launch, ahead in zip(launched, plan, strict=True)]
        return [replace(first, name="embed"), *launched, *self._draws()]

    def _layer(self, index: int) -> list[Launch]:
        launches = {
            name: product.launch(self._room, self._scratch.tiles[name], self._options)
            for name, product in self._products(index).items()
        }
        launches["attention"] = self._attention(index).launch(self._room, self._looks, self._options)
        return [replace(launches[name], name=name) for name in ("heads", "attention", "output", "gate_up", "down")]

    def _next(self, index: int) -> Next:
        """Return what the hidden states before layer `index` (or the final norm) are written for."""
        layers, to = self._parts.layers, self._plain.buffers
        norm = layers[index].heads.norm.weight if index < len(layers) else self._parts.norm
        kept = "trunk" if index == self._plain.keep_layer else "hidden" if index == len(layers) else None
        scratch = self._scratch
        return Next(scratch.scaled, norm, scratch.squares[0], to.column, None if kept is None else to.large[kept])

    def _products(self, index: int) -> dict[str, Product]:
        layer, scratch = self._parts.layers[index], self._scratch
        rest, adapters = layer.rest, _adapters(layer)
        heads, output, gate_up, down = products_of(layer).values()
        middle = Next(scratch.scaled, rest.norm.weight, scratch.squares[1], self._plain.buffers.column)
        width = scratch.states.shape[1]
        return {
            "heads": Product(
                "heads", scratch.scaled, heads.weight, scratch.heads, len(heads.weight), heads.bias,
                scratch.squares[0], layer.heads.norm.eps, adapters["heads"],
            ),
            "output": Product(
                "residual", scratch.attended, output.weight, scratch.states, width, output.bias,
                adapters=adapters["output"], after=middle,
            ),
            "gate_up": Product(
                "gated", scratch.scaled, gate_up.weight, scratch.opened, len(gate_up.weight) // 2, gate_up.bias,
                scratch.squares[1], rest.norm.eps, adapters["gate_up"],
            ),
            "down": Product(
                "residual", scratch.opened, down.weight, scratch.states, width, down.bias,
                adapters=adapters["down"], after=self._next(index + 1),
            ),
        }  # fmt: skip

    def _attention(self, index: int) -> Attention:
        layer, to, scratch = self._parts.layers[index], self._plain.buffers, self._scratch
        caches = {name: to.large[name][index] for name in ("context_keys", "context_values", "keys", "values")}
        norm = layer.heads.head_norm
        return Attention(
            heads=scratch.heads,
            rope=to.rope,
            start=to.start,
            column=to.column,
            out=scratch.attended,
            scaling=layer.scaling,
            head_norm=None if norm is None else norm.weight,
            epsilon=0.0 if norm is None else norm.eps,
            **caches,
        )

    def _draws(self) -> list[Callable[[], None]]:
        """Draw by a kernel, where nothing but the logits' tiles is needed; else as the plain step does."""
        plain, scratch, options = self._plain, self._scratch, self._options
        to, sampling = plain.buffers, plain.sampling
        if sampling.top_p < 1.0:
            return [self._move, lambda: plain.draw_from(scratch.logits[: to.grid.rows])]
        kernel = draw_launch(to, sampling, plain.ends, scratch, options)
        return [kernel] if to.row is None else [kernel, self._move, self._take]

    def _move(self) -> None:
        self._plain.buffers.column.add_(1)

    def _take(self) -> None:
        to = self._plain.buffers
        self._plain.take(to.out[0].index_select(1, to.column)[:, 0].long())


def _adapters(layer: LeanLayer) -> dict[str, Adapters]:
    rest = layer.rest
    named = {"heads": layer.heads.projection, "output": rest.output, "gate_up": rest.gate_up, "down": rest.down}
    return {name: Adapters(projection.active) for name, projection in named.items()}


def draw_launch(to: Buffers, sampling: Sampling, ends: Tensor, scratch: Scratch, options: Options) -> Launch:
    """Return what draws from the logits in `scratch`; where rows are not shared, it moves on, too."""
    tiles = scratch.tiles["logits"]
    vocabulary = scratch.logits.shape[1]
    count = tiles.count(vocabulary)
    arguments: dict[str, Any] = {
        "logits": scratch.logits,
        "stats": scratch.stats,
        "row": to.column if to.row is None else to.row,
        "uniform": to.uniform,
        "column": to.column,
        "budget": to.budget,
        "ends": ends,
        "token": to.token,
        "done": to.done.view(torch.int8),
        "left": to.left,
        "out": to.out,
        "tickets": scratch.drawn,
        "temperature": sampling.temperature or 1.0,
        "MEMBERS": to.grid.members,
        "LENGTH": to.grid.length,
        "TOKENS": vocabulary,
        "BLOCK_M": len(scratch.states),
        "BLOCK_N": tiles.block_n,
        "TILES_BLOCK": power_of_two(count),
        "ENDS": len(ends),
        "ENDS_BLOCK": power_of_two(len(ends)),
        "GREEDY": sampling.temperature == 0.0,
        "ENTROPY": sampling.entropies,
        "SHARED": to.row is not None,
        "PDL": options.pdl,
    }
    return replace(launch_of(draw, (to.grid.members,), arguments, 4, 1, options), name="draw")
