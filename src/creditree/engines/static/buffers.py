"""The tensors of static decoding: everything that a step reads or writes, at addresses that stay."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.engines.static.attention import SplitPlan, has_wide_products
from creditree.engines.static.grid import Grid
from creditree.engines.store import ROOT, PrefixStore
from creditree.models.transformer import Rope, Transformer
from creditree.tree import FloatArray, IntArray

KINDS = 4
"""Numbers of a drawn token: id, log-probability, sampler's log-probability, entropy."""
_ALIGNED = 256


class Arena:
    """Memory for the large tensors of one grid at a time: grids take views of the same, so the largest one counts."""

    def __init__(self, transformer: Transformer, keeps_trunk: bool) -> None:
        self._transformer = transformer
        self._keeps_trunk = keeps_trunk
        self._held = self._room(0)

    def shapes(self, grid: Grid) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a grid's tensors."""
        model = self._transformer
        layers, heads, size = model.num_layers, model.num_kv_heads, model.head_dim
        context = (layers, grid.copies, heads, grid.context, size)
        own = (layers, grid.copies, heads, grid.each, grid.length, size)
        states = (grid.rows, grid.length, model.hidden_size)
        shapes = {"context_keys": context, "context_values": context, "keys": own, "values": own, "hidden": states}
        return shapes | {"trunk": states} if self._keeps_trunk else shapes

    def grow(self, grid: Grid) -> bool:
        """Make room for a grid; return whether anything moved: then views taken before must not be used again."""
        needed = sum(_aligned(shape) for shape in self.shapes(grid).values())
        if len(self._held) >= needed:
            return False
        self._held = self._room(0)  # first, so that old and new are not held together
        self._held = self._room(needed)
        return True

    def _room(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=self._transformer.dtype, device=self._transformer.device)

    def views(self, grid: Grid) -> dict[str, Tensor]:
        """Return the tensors of a grid, which `grow` made room for."""
        views, start = {}, 0
        for name, shape in self.shapes(grid).items():
            views[name] = self._held[start : start + int(np.prod(shape))].view(shape)
            start += _aligned(shape)
        return views


def _aligned(shape: tuple[int, ...]) -> int:
    """Return the numbers of a tensor, rounded up so that the next one begins where kernels like it best."""
    return -(-int(np.prod(shape)) // _ALIGNED) * _ALIGNED


@dataclass(frozen=True, eq=False, slots=True)
class Load:
    """What a grid is filled with: c contexts, and m completions on their rows.

    `read` [c, L]: slots of the contexts' tokens;  `length` [c];  `place` [m]: each completion's number in the grid;
    `row` [m];  `budget` [m]: columns at most;  `uniform` [m, T];  `token` [c]: what the rows of the contexts, one each,
    forward first; None where the first tokens are still to be drawn.
    """

    read: IntArray
    length: IntArray
    place: IntArray
    row: IntArray
    budget: IntArray
    uniform: FloatArray
    token: IntArray | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Buffers:
    """Tensors of one grid, with B = C R rows (C copies of a context, R rows each) on which M completions stand.

    `token` [B]: to forward next;  `column` [1]: where it stands among the new ones;  `start` [B]: position of the first
    new one;  `budget` [M];  `done` [M];  `left` [1]: completions not done;  `uniform` [M, T];  `out` [KINDS, M, T];
    `context_bias` [C, P]: 0, or -inf past a context's end. Of `rope`, row p is of position p.

    Each completion has a row of its own (`row` None, M = B); or `row` [M] says on which it stands, and it is done
    there when it draws another token than its row goes on with, after `drawn` [M] draws.
    """

    grid: Grid
    token: Tensor
    column: Tensor
    start: Tensor
    budget: Tensor
    done: Tensor
    drawn: Tensor
    row: Tensor | None
    left: Tensor
    uniform: Tensor
    out: Tensor
    context_bias: Tensor
    large: dict[str, Tensor]
    rope: Rope
    wide: bool

    @classmethod
    def of(cls, grid: Grid, transformer: Transformer, large: dict[str, Tensor], rope: Rope) -> "Buffers":
        """Make the small tensors of a grid."""
        device, rows, members = transformer.device, grid.rows, grid.members

        def whole(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.int64, device=device)

        def double(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.float64, device=device)

        kind = torch.promote_types(transformer.dtype, torch.float32)
        return cls(
            grid=grid,
            token=whole(rows),
            column=whole(1),
            start=whole(rows),
            budget=whole(members),
            done=torch.ones(members, dtype=torch.bool, device=device),
            drawn=whole(members),
            row=whole(members) if grid.shared else None,
            left=whole(1),
            uniform=double(members, grid.length),
            out=double(KINDS, members, grid.length),
            context_bias=torch.zeros(grid.copies, grid.context, dtype=kind, device=device),
            large=large,
            rope=rope,
            wide=has_wide_products(device, transformer.dtype),
        )

    @property
    def state(self) -> tuple[Tensor, ...]:
        """What a step both reads and writes."""
        return self.token, self.column, self.done, self.drawn, self.left

    def fill(self, load: "Load", store: PrefixStore) -> None:
        """Take completions and their contexts' keys and values.

        What is not used has a budget of 0 and is done from the start; unused copies have a context of no token.
        """
        grid, used = self.grid, len(load.length)
        length = np.zeros(grid.copies, dtype=np.int64)
        length[:used] = load.length
        slots = np.full((grid.copies, grid.context), ROOT, dtype=np.int64)
        width = min(grid.context, load.read.shape[1])
        slots[:used, :width] = load.read[:, :width]
        budget, uniform = np.zeros(grid.members, dtype=np.int64), np.zeros((grid.members, grid.length))
        budget[load.place] = load.budget
        columns = min(grid.length, load.uniform.shape[1])
        uniform[load.place, :columns] = load.uniform[:, :columns]
        outside = np.where(np.arange(grid.context) < length[:, None], 0.0, -np.inf)
        _upload(self.start, np.repeat(length, grid.each))
        _upload(self.budget, budget)
        _upload(self.uniform, uniform)
        _upload(self.context_bias, outside)
        if self.row is not None:
            row = np.zeros(grid.members, dtype=np.int64)
            row[load.place] = load.row
            _upload(self.row, row)
        if load.token is not None:
            token = np.zeros(grid.rows, dtype=np.int64)
            token[:used] = load.token
            _upload(self.token, token)
        self.column.zero_()
        self.drawn.zero_()
        torch.le(self.budget, 0, out=self.done)
        for name in ("keys", "values"):
            self.large[name].zero_()  # what another grid left there could be no number, and 0 times that is none either
        where = torch.from_numpy(slots).to(self.token.device)
        for layer in range(store.transformer.num_layers):
            keys, values = store.read(layer, where, store.transformer.num_kv_heads)
            self.large["context_keys"][layer].copy_(keys)
            self.large["context_values"][layer].copy_(values)

    def states(self, slots: IntArray, store: PrefixStore) -> Tensor:
        """Return each row's hidden state before its first draw [B, width]: that of its context's last token."""
        last = np.full(self.grid.copies, ROOT, dtype=np.int64)
        last[: len(slots)] = slots
        return store.hidden(last).repeat_interleave(self.grid.each, dim=0)

    def plan(self, stage: int) -> SplitPlan:
        """Return the attention of a step at a column below `stage`."""
        inside = torch.arange(stage, device=self.token.device) <= self.column
        own = torch.zeros(stage, dtype=self.context_bias.dtype, device=self.token.device)
        own = own.masked_fill(~inside, -torch.inf).expand(self.grid.copies, stage)
        return SplitPlan(
            grid=self.grid,
            stage=stage,
            column=self.column,
            context_keys=self.large["context_keys"],
            context_values=self.large["context_values"],
            keys=self.large["keys"],
            values=self.large["values"],
            bias=torch.cat([self.context_bias, own], dim=1)[:, None, None],
            wide=self.wide,
        )

    def download(self) -> FloatArray:
        """Return `out` as an array: one transfer, waited for."""
        if not self.out.is_cuda:
            return self.out.numpy().copy()
        host = torch.empty(self.out.shape, dtype=self.out.dtype, pin_memory=True)
        host.copy_(self.out, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        arrived.synchronize()
        return host.numpy()


def _upload(target: Tensor, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    source = torch.from_numpy(array)
    target.copy_(source.pin_memory() if target.is_cuda else source, non_blocking=True)
