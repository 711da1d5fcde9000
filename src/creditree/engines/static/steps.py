"""The steps of static decoding: recorded once for each grid, and kept while the weights stay where they are."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.graphs import Step
from creditree.engines.static.grid import Grid
from creditree.engines.static.kernels.tiles import FEWEST_BYTES
from creditree.engines.static.record import Form, Recorder
from creditree.engines.static.same import check_same
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.triton_form import TRITON_FORMS, ScratchRooms, triton_step
from creditree.engines.store import PrefixStore
from creditree.models.lean import LeanLayer
from creditree.models.load import Model
from creditree.models.projection import Lora
from creditree.models.transformer import Rope

_GRIDS = 8
"""Grids whose recorded steps are kept; the one used longest ago goes first."""
_FEWEST_POSITIONS = 512


class Steps:
    """Buffers and recorded steps of the grids in use.

    A step is recorded for each grid, doubled cache length, sampling and state of the adapter. Weights are read in
    place: an optimiser that updates them in place needs no new recording; where a weight has moved, all are dropped.
    """

    def __init__(self, model: Model, store: PrefixStore, recorder: Recorder) -> None:
        self.recorder = recorder
        self.weight_bytes = sum(parameter.nbytes for parameter in model.transformer.model.parameters())
        self._model = model
        self._keep_layer = store.keep_layer
        self._arena = Arena(model.transformer, store.keep_layer is not None)
        self._grids: dict[Grid, tuple[Buffers, dict[tuple[object, ...], Step]]] = {}
        self._scratch: ScratchRooms = {}
        self._weights: tuple[object, ...] = ()
        self._layers: tuple[LeanLayer | None, ...] = ()
        self._adapters: tuple[object, ...] = ()
        self._rope: Rope | None = None
        self.ends: Tensor | None = None  # held here: recorded steps read its memory, and refer to no tensor

    @property
    def grids(self) -> list[Grid]:
        """The grids whose steps are kept."""
        return list(self._grids)

    def first(self, buffers: Buffers, sampling: Sampling) -> DecodeStep:
        """Return a step that only draws, and is not recorded."""
        return self._step(buffers, sampling, 1)

    def recorded(self, buffers: Buffers, sampling: Sampling, stage: int) -> Step:
        """Return the step that reads `stage` columns of the rows' own caches."""
        steps = self._grids[buffers.grid][1]
        for key in ((None, sampling, self._adapters), (stage, sampling, self._adapters)):
            if key in steps:
                return steps[key]
        plain = self._step(buffers, sampling, stage)
        pays = self.weight_bytes >= FEWEST_BYTES or self.recorder.wanted is not None
        forms = self._forms(plain) if pays else []
        step = self.recorder.record(plain, buffers.state, forms, buffers.grid.rows)
        # Triton's kernels read up to the column, whatever the stage
        steps[None if self.recorder.kernels in TRITON_FORMS else stage, sampling, self._adapters] = step
        return step

    def _forms(self, plain: DecodeStep) -> list[Form]:
        """Return a step in other kernels, which are looked at before they are taken."""
        same = partial(check_same, plain)
        return [Form(form, partial(triton_step, plain, self._scratch, form), same) for form in TRITON_FORMS]

    def buffers(self, grid: Grid) -> Buffers:
        """Return the buffers of a grid, whose memory is that of all others."""
        rope = self._angles(grid.context + grid.length)
        if self._arena.grow(grid):
            self._grids.clear()
        made = self._grids.pop(grid, None)
        if made is None:
            made = Buffers.of(grid, self._model.transformer, self._arena.views(grid), rope), {}
        self._grids[grid] = made  # the last one used is the last one
        while len(self._grids) > _GRIDS:
            del self._grids[next(iter(self._grids))]
        return made[0]

    def drop_if_moved(self) -> None:
        """Drop recorded steps unless they read the weights where these are now."""
        transformer = self._model.transformer
        layers = transformer.lean_layers
        weights = tuple((p.data_ptr(), p.dtype, p.shape) for p in _tensors(transformer.model))
        if weights != self._weights or len(layers) != len(self._layers) or any(map(_differ, layers, self._layers)):
            self._grids.clear()
            self._scratch.clear()
            self._rope = None
        # layers are held, not only compared: another object at the same address would be taken for the same
        self._weights, self._layers = weights, layers
        self._adapters = tuple((lora.is_on, lora.scaling) for lora in _loras(layers))

    def _step(self, buffers: Buffers, sampling: Sampling, stage: int) -> DecodeStep:
        transformer = self._model.transformer
        if self.ends is None:
            self.ends = torch.tensor(self._model.eos_ids, device=transformer.device)
        return DecodeStep(transformer, buffers, sampling, stage, self.ends, self._keep_layer)

    def _angles(self, positions: int) -> Rope:
        if self._rope is None or len(self._rope[0]) < positions:
            self._grids.clear()
            transformer = self._model.transformer
            size = 1 << (max(positions, _FEWEST_POSITIONS) - 1).bit_length()
            place = torch.arange(size, device=transformer.device)[None]
            cos, sin = transformer.rope(transformer.embed(place[:, :1]), place)
            self._rope = cos[0].contiguous(), sin[0].contiguous()
        return self._rope


def _differ(one: object, other: object) -> bool:
    return one is not other


def _loras(layers: Sequence[LeanLayer | None]) -> Iterator[Lora]:
    for layer in layers:
        if layer is not None:
            rest = layer.rest
            for projection in (layer.heads.projection, rest.output, rest.gate_up, rest.down):
                yield from projection.loras


def _tensors(model: torch.nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
