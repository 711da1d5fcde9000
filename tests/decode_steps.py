"""Decode steps on made-up tokens, caches and uniform numbers."""

import torch

from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid
from creditree.engines.static.step import DecodeStep
from creditree.models.load import Model

COLUMN = 3


def a_step(model: Model, grid: Grid, sampling: Sampling, keep_layer: int | None = None) -> DecodeStep:
    """Return a plain step at column 3; the same arguments make the same numbers."""
    transformer = model.transformer
    arena = Arena(transformer, keep_layer is not None)
    arena.grow(grid)
    place = torch.arange(grid.context + grid.length)[None]
    cos, sin = transformer.rope(transformer.embed(place[:, :1]), place)
    buffers = Buffers.of(grid, transformer, arena.views(grid), (cos[0].contiguous(), sin[0].contiguous()))
    made = torch.Generator().manual_seed(0)
    for name in ("context_keys", "context_values", "keys", "values"):
        buffers.large[name].copy_(torch.randn(buffers.large[name].shape, generator=made))
    length = torch.randint(0, grid.context + 1, (grid.copies,), generator=made)
    length[0] = grid.context
    buffers.start.copy_(length.repeat_interleave(grid.each))
    buffers.context_bias.masked_fill_(torch.arange(grid.context) >= length[:, None], -torch.inf)
    buffers.token.copy_(torch.randint(3, transformer.vocab_size, buffers.token.shape, generator=made))
    buffers.column.fill_(COLUMN)
    buffers.uniform.copy_(torch.rand(buffers.uniform.shape, generator=made, dtype=torch.float64))
    buffers.budget.fill_(grid.length)
    buffers.done.fill_(False)
    if buffers.row is not None:
        buffers.row.copy_(torch.randint(0, grid.rows, buffers.row.shape, generator=made))
    return DecodeStep(transformer, buffers, sampling, grid.length, torch.tensor(model.eos_ids), keep_layer)
