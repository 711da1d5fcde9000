"""What the Triton kernels of a decode step need of a model, and the memory between them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from creditree.engines.static.kernels.tiles import MOST_LOOKS, Looks, Tiles, looks_of, power_of_two, tiles_of
from creditree.models.lean import LeanLayer
from creditree.models.projection import Dense, Projection
from creditree.models.transformer import Transformer


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """What kernels need of a model. RuntimeError, in one sentence, where they cannot run it."""

    layers: tuple[LeanLayer, ...]
    embedding: Tensor
    norm: Tensor
    epsilon: float
    head: Tensor

    @classmethod
    def of(cls, transformer: Transformer) -> "Parts":
        """Take them from a model."""
        layers = tuple(layer for layer in transformer.lean_layers if layer is not None)
        norm, head = transformer.lean_ends
        embedding: Any = transformer.embedding
        if len(layers) != transformer.num_layers or norm is None or head is None:
            raise RuntimeError("not every layer is of the family")
        if type(embedding) is not torch.nn.Embedding:
            raise RuntimeError("the embedding does more than to look up")
        for layer in layers:
            products_of(layer)
        if transformer.dtype not in (torch.bfloat16, torch.float16, torch.float32):
            raise RuntimeError(f"no kernels in {transformer.dtype}")
        size = transformer.head_dim
        if size & (size - 1) or not 16 <= size <= 256:
            raise RuntimeError(f"no kernels for heads of {size}")
        return cls(layers, embedding.weight.detach(), norm.weight, norm.eps, head.weight)


def dense(projection: Projection) -> Dense:
    """Return the matrix of a projection. RuntimeError if it is quantised."""
    if not isinstance(projection.frozen, Dense) or not projection.frozen.weight.is_contiguous():
        raise RuntimeError("its matrices are quantised")
    return projection.frozen


@dataclass(frozen=True, eq=False, slots=True)
class Scratch:
    """What one kernel leaves for the next, padded to `block_m` rows: for all steps of so many, which take turns.

    `states` [block_m, width]: hidden states;  `scaled`: times the weight of the norm to come;  `squares` (two of them)
    [parts, block_m]: sums of their squares, before attention and before the MLP.
    """

    tiles: dict[str, Tiles]
    looks: Looks
    states: Tensor
    scaled: Tensor
    squares: tuple[Tensor, Tensor]
    heads: Tensor
    attended: Tensor
    opened: Tensor
    logits: Tensor
    stats: Tensor
    partial: Tensor
    tickets: Tensor
    drawn: Tensor

    @classmethod
    def of(
        cls, parts: Parts, block_m: int, tiles: dict[str, Tiles] | None = None, looks: Looks | None = None
    ) -> "Scratch":
        """Make it for a model; tiles that are not given are those of `model_tiles`."""
        tiles = model_tiles(parts, block_m) | (tiles or {})
        vocabulary, width = parts.head.shape
        layer = parts.layers[0]
        sizes = {name: len(product.weight) for name, product in products_of(layer).items()}
        count = power_of_two(max(tiles[name].count(width) for name in ("output", "down")))
        kv = layer.heads.plain
        units, fold = block_m * kv, max(16, power_of_two(layer.heads.turned[0] // kv))
        size = sizes["heads"] // (sum(layer.heads.turned) + kv)
        looks = looks or looks_of(units, 0, 2 * size * parts.head.element_size())
        numbers = units * max(looks.splits, MOST_LOOKS) * fold * (size + 2)
        numbers = max(numbers, *(tiles[name].partial(sizes[name], block_m) for name in sizes))
        tickets = max(units, *(tiles[name].count(sizes[name]) for name in sizes))

        def room(*size: int, dtype: torch.dtype = parts.head.dtype) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=parts.head.device)

        return cls(
            tiles=tiles,
            looks=looks,
            states=room(block_m, width),
            scaled=room(block_m, width),
            squares=(room(count, block_m, dtype=torch.float32), room(count, block_m, dtype=torch.float32)),
            heads=room(block_m, sizes["heads"]),
            attended=room(block_m, dense(layer.rest.output).weight.shape[1]),
            opened=room(block_m, sizes["gate_up"] // 2),
            logits=room(block_m, vocabulary),
            stats=room(4, block_m, tiles["logits"].count(vocabulary), dtype=torch.float32),
            partial=room(numbers, dtype=torch.float32),
            tickets=room(tickets, dtype=torch.int32),
            drawn=room(1, dtype=torch.int32),
        )


def products_of(layer: LeanLayer) -> dict[str, Dense]:
    """Return the matrices of a layer by the names of their products."""
    rest = layer.rest
    named = {"heads": layer.heads.projection, "output": rest.output, "gate_up": rest.gate_up, "down": rest.down}
    return {name: dense(projection) for name, projection in named.items()}


def model_tiles(parts: Parts, rows: int) -> dict[str, Tiles]:
    """Return the tiles of a model's products."""
    layer = parts.layers[0]
    heads, output, gate_up, down = (product.weight for product in products_of(layer).values())
    head_size = len(heads) // (sum(layer.heads.turned) + layer.heads.plain)
    return {
        "heads": tiles_of("heads", rows, heads.shape[1], heads.shape[0], head_size),
        "output": tiles_of("residual", rows, output.shape[1], output.shape[0]),
        "gate_up": tiles_of("gated", rows, gate_up.shape[1], gate_up.shape[0] // 2),
        "down": tiles_of("residual", rows, down.shape[1], down.shape[0]),
        "logits": tiles_of("logits", rows, parts.head.shape[1], parts.head.shape[0]),
    }
