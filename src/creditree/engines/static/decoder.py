"""Decoding in static shapes: on CUDA a step is one graph launch, and the host waits for nothing until the end."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.decoder import Decoder
from creditree.engines.draw import NO_DISTRIBUTION
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Arena, Buffers
from creditree.engines.static.graphs import Step
from creditree.engines.static.grid import Arrangement, Grid, Traffic, arrange, stage_bucket
from creditree.engines.static.merge import Placed, place
from creditree.engines.static.record import Recorder
from creditree.engines.static.step import DecodeStep
from creditree.engines.static.watch import CHECK_EVERY, Watch
from creditree.engines.store import PrefixStore
from creditree.errors import NonFiniteError
from creditree.ledger import Ledger
from creditree.models.lean import LeanLayer
from creditree.models.load import Model
from creditree.models.projection import Lora
from creditree.models.transformer import Rope

_GRIDS = 8
"""Grids whose recorded steps are kept; the one used longest ago goes first."""
_FEWEST_POSITIONS = 512
_LOGIT_BYTES = 40
"""Traffic of drawing, for each logit: about ten passes over float32 numbers."""
_AT_ONCE = 1 << 14
"""Slots copied into the store together."""
_FIXED_ROPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary angles that depend on a token's position alone, not on how long its pass is."""


class StaticDecoder:
    """Decodes every completion on a row of its own, in shapes that repeat, so that steps are recorded and replayed.

    Completions with equal tokens are decoded apart here: merging them needs the host at each step, and a step takes as
    long as reading the weights does. `ledger.decoded` counts them all: the rows forwarded until their ends, without
    the unused rows of a grid and what is computed after a row's end.

    A step is recorded for each grid, doubled cache length, sampling and state of the adapter; a call takes a grid that
    is there where that is not much larger than the best one. Weights are read in place: an optimiser that updates them
    in place needs no new recording; where a weight has moved, all are dropped.

    Memory besides weights and store, kept between calls, for the largest grid (B = C R rows of T tokens, C contexts of
    P): keys and values of B T + C P tokens, and B T hidden states (twice with `keep_layer`).
    """

    def __init__(self, model: Model, store: PrefixStore, prefill: Decoder, recorder: Recorder | None = None) -> None:
        """Decode for `store`; contexts are forwarded by `prefill`."""
        self.model = model
        self.store = store
        self.recorder = recorder or Recorder(model.transformer.device)
        self._prefill = prefill
        self._arena = Arena(model.transformer, store.keep_layer is not None)
        self._grids: dict[Grid, tuple[Buffers, dict[tuple[object, ...], Step]]] = {}
        self._weights: tuple[object, ...] = ()
        self._layers: tuple[LeanLayer | None, ...] = ()
        self._adapters: tuple[object, ...] = ()
        self._rope: Rope | None = None
        self._ends: Tensor | None = None  # held here: recorded steps read its memory, and refer to no tensor
        self._weight_bytes = sum(parameter.nbytes for parameter in model.transformer.model.parameters())

    def fits(self) -> bool:
        """Whether the model can be decoded so: every layer in lean form, with angles that are known beforehand."""
        transformer = self.model.transformer
        settings = getattr(transformer.config, "rope_parameters", None) or {}
        return None not in transformer.lean_layers and settings.get("rope_type", "default") in _FIXED_ROPES

    def prefill(self, contexts: Sequence[Context], read: Callable[[int], None] | None = None) -> None:
        """Store keys, values and last hidden states of the contexts' new tokens."""
        self._prefill.prefill(contexts, read)

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw every completion to its end, then put what was computed into the store."""
        transformer = self.model.transformer
        self._drop_if_moved()
        token_bytes = transformer.num_layers * transformer.kv_width * transformer.dtype.itemsize
        longest = completions.tokens.shape[1]
        traffic = Traffic(_LOGIT_BYTES * transformer.vocab_size, token_bytes, self._weight_bytes)
        arranged = arrange(live.row, int(live.length.max()), longest, traffic, self._grids)
        buffers = self._buffers(arranged.grid)
        self._step(buffers, completions.sampling, 1).draw(buffers.fill(arranged, completions, live, self.store))
        watch, eager, captures = Watch(buffers.left), self.recorder.eager, self.recorder.captured
        tokens = len(live.which)
        for column in range(longest - 1):
            self._recorded(buffers, completions.sampling, stage_bucket(column, buffers.grid.length))()
            if (column + 1) % CHECK_EVERY:
                continue
            if watch.all_finished():
                break
            if watch.unfinished is not None:  # at least so many tokens, of the check before
                tokens += CHECK_EVERY * watch.unfinished
                completions.beat(len(live.which) - watch.unfinished, tokens, column + 1)
        self._collect(completions, live, arranged, buffers)
        drawn = completions.drawn[live.which]
        placed = place(self.store, live.slot[live.row], completions.tokens[live.which], drawn)
        self._keep(placed, arranged, buffers)
        ledger.decoded += int((drawn - 1).sum())
        ledger.eager += self.recorder.eager - eager
        ledger.captures += self.recorder.captured - captures

    def _collect(self, completions: Completions, live: Live, arranged: Arrangement, buffers: Buffers) -> None:
        width = completions.tokens.shape[1]
        tokens, *numbers = buffers.download()[:, arranged.row, :width]
        ends = np.isin(tokens, self.model.eos_ids) & (np.arange(width) < completions.budget[live.which, None])
        stopped = ends.any(axis=1)
        drawn = np.where(stopped, ends.argmax(axis=1) + 1, completions.budget[live.which])
        counts = np.arange(width) < drawn[:, None]
        completions.stopped[live.which], completions.drawn[live.which] = stopped, drawn
        completions.tokens[live.which] = np.where(counts, tokens, 0)
        if any(np.isnan(found[counts]).any() for found in numbers[:2]):
            raise NonFiniteError(NO_DISTRIBUTION)
        targets = (completions.logprobs, completions.sampler_logprobs, completions.entropies)
        for target, found in zip(targets, numbers, strict=True):
            if target is not None:
                target[live.which] = np.where(counts, found, 0.0)

    def _keep(self, placed: Placed, arranged: Arrangement, buffers: Buffers) -> None:
        """Copy what belongs in the placed slots from the rows that computed it."""
        large, each, device = buffers.large, arranged.grid.each, self.model.transformer.device
        for start in range(0, len(placed.slot), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            arrays = placed.slot[part], arranged.row[placed.member[part]], placed.column[part]
            slot, row, column = (torch.from_numpy(array).to(device) for array in arrays)
            copy, within = row // each, row % each
            for layer, kv in enumerate(self.store.kv):
                pair = [large[name][layer][copy, :, within, column] for name in ("keys", "values")]
                kv.index_copy_(0, slot, torch.stack(pair, dim=1).view(len(slot), -1))
            if "trunk" in large:
                self.store.keep_trunk(slot, large["trunk"][row, column])
            self.store.keep_hidden(placed.slot[part], large["hidden"][row, column])

    def _step(self, buffers: Buffers, sampling: Sampling, stage: int) -> DecodeStep:
        keep = self.store.keep_layer
        if self._ends is None:
            self._ends = torch.tensor(self.model.eos_ids, device=self.model.transformer.device)
        return DecodeStep(self.model.transformer, buffers, sampling, stage, self._ends, keep)

    def _recorded(self, buffers: Buffers, sampling: Sampling, stage: int) -> Step:
        steps = self._grids[buffers.grid][1]
        key = (stage, sampling, self._adapters)
        if key not in steps:
            steps[key] = self.recorder.record(self._step(buffers, sampling, stage), buffers.state)
        return steps[key]

    def _buffers(self, grid: Grid) -> Buffers:
        rope = self._angles(grid.context + grid.length)
        if self._arena.grow(grid):
            self._grids.clear()
        found = self._grids.pop(grid, None)
        if found is None:
            found = Buffers.of(grid, self.model.transformer, self._arena.views(grid), rope), {}
        self._grids[grid] = found  # the last one used is the last one
        while len(self._grids) > _GRIDS:
            del self._grids[next(iter(self._grids))]
        return found[0]

    def _angles(self, positions: int) -> Rope:
        if self._rope is None or len(self._rope[0]) < positions:
            self._grids.clear()
            transformer = self.model.transformer
            size = 1 << (max(positions, _FEWEST_POSITIONS) - 1).bit_length()
            place = torch.arange(size, device=transformer.device)[None]
            cos, sin = transformer.rope(transformer.embed(place[:, :1]), place)
            self._rope = cos[0].contiguous(), sin[0].contiguous()
        return self._rope

    def _drop_if_moved(self) -> None:
        """Drop recorded steps unless they read the weights where these are now."""
        transformer = self.model.transformer
        layers = transformer.lean_layers
        weights = tuple((p.data_ptr(), p.dtype, p.shape) for p in _tensors(transformer.model))
        if weights != self._weights or len(layers) != len(self._layers) or any(map(_differ, layers, self._layers)):
            self._grids.clear()
            self._rope = None
        # layers are held, not only compared: another object at the same address would be taken for the same
        self._weights, self._layers = weights, layers
        self._adapters = tuple((lora.is_on, lora.scaling) for lora in _loras(layers))


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
