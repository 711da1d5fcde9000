"""A model and rows to decode, made up, for a benchmark of one decode step in Triton kernels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.grid import Grid, row_bucket
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.triton_form import ScratchRooms, compile_forms, triton_step
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.models.transformer import Transformer

SHAPES = {
    "1.5b": PUBLIC_SHAPES["Qwen/Qwen2-1.5B"],
    "0.5b": PUBLIC_SHAPES["Qwen/Qwen2.5-0.5B"],
    "tiny": Shape(3, 64, 4, 2, 16, 96, 200, 512, qkv_bias=True),
}
CONTEXT, LENGTH, COLUMN = 128, 256, 128
PROMPT = 100
Run = Callable[[], object]


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A model and the buffers of some rows, with tokens, caches and uniform numbers made up."""

    name: str
    rows: int
    transformer: Transformer
    buffers: Buffers
    ends: Tensor
    sampling: Sampling
    rooms: ScratchRooms = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, transformer: Transformer, rows: int, device: str) -> "Trial":
        """Make the buffers."""
        torch.manual_seed(0)
        context, length = (CONTEXT, LENGTH) if device != "cpu" else (16, 16)
        grid = Grid(1, row_bucket(rows, 1), context, length)
        arena = Arena(transformer, keeps_trunk=True)
        arena.grow(grid)
        place = torch.arange(512, device=device)[None]
        cos, sin = transformer.rope(transformer.embed(place[:, :1]), place)
        buffers = Buffers.of(grid, transformer, arena.views(grid), (cos[0].contiguous(), sin[0].contiguous()))
        for name_of in ("context_keys", "context_values", "keys", "values"):
            buffers.large[name_of].normal_()
        buffers.token.random_(transformer.vocab_size)
        buffers.column.fill_(COLUMN if device != "cpu" else 5)
        known = PROMPT if device != "cpu" else 9
        buffers.start.fill_(known)
        buffers.context_bias[:, known:] = -torch.inf
        buffers.uniform.uniform_()
        buffers.budget.fill_(length)
        buffers.done.fill_(False)
        ends = torch.tensor([transformer.vocab_size - 1], device=device)
        return cls(name, rows, transformer, buffers, ends, Sampling(1.0))

    def plain(self) -> DecodeStep:
        """Return the step in torch's kernels."""
        length = self.buffers.grid.length
        return DecodeStep(self.transformer, self.buffers, self.sampling, length, self.ends, 1)

    def tuned(self) -> str:
        """Find the fastest tiles, and keep the memory of steps in them; return what was compared, in microseconds."""
        from creditree.engines.static.kernels.scratch import Parts, Scratch
        from creditree.engines.static.kernels.tiles import row_block
        from creditree.engines.static.kernels.tune import tuned

        parts, block_m = Parts.of(self.transformer), row_block(self.buffers.grid.rows)
        if self.transformer.device.type == "cpu":
            self.rooms[block_m] = Scratch.of(parts, block_m)
            return "nothing on a CPU"
        self.rooms[block_m], times = tuned(self.plain(), parts, block_m)
        compile_forms(self.plain(), parts, self.rooms[block_m])
        chosen = {*self.rooms[block_m].tiles.items(), ("attention", self.rooms[block_m].looks)}
        lines = {
            name: ", ".join(
                f"{_short(one)} {1e6 * took:.1f}{'*' * ((name, one) in chosen)}" for one, took in found.items()
            )
            for name, found in times.items()
        }
        return "; ".join(f"{name} {line}" for name, line in lines.items())

    def form(self, name: Any) -> Any:
        """Return the step in Triton kernels."""
        return triton_step(self.plain(), self.rooms, name)

    def rehearsed(self, step: Run) -> dict[str, Tensor]:
        """Run a step, undo it, and return what it computed."""
        to = self.buffers
        before = [tensor.clone() for tensor in to.state]
        column = int(to.column)
        step()
        found = {"hidden": to.large["hidden"][:, column], "trunk": to.large["trunk"][:, column]}
        found |= {"keys": to.large["keys"][-1, :, :, :, column], "values": to.large["values"][-1, :, :, :, column]}
        found |= {"token": to.token, "logprob": to.out[1, :, column + 1], "sampler": to.out[2, :, column + 1]}
        found |= {"left": to.left, "column": to.column}
        found = {name: tensor.double().clone() for name, tensor in found.items()}
        for tensor, held in zip(to.state, before, strict=True):
            tensor.copy_(held)
        return found


def _short(one: Any) -> str:
    if hasattr(one, "block_t"):
        return f"{one.block_t}/{one.splits}w{one.warps}s{one.stages}"
    return f"{one.block_n}x{one.block_k}/{one.splits}w{one.warps}s{one.stages}"
