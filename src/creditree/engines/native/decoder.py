"""Decoding by native code: a whole rollout is a few calls, whatever the number of tokens."""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.draw import NO_DISTRIBUTION
from creditree.engines.native.library import library
from creditree.engines.native.pages import gather
from creditree.engines.native.weights import Weights, pointer, read_weights
from creditree.engines.store import ROOT, PrefixStore
from creditree.errors import NonFiniteError
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.tree import IntArray

_PATIENCE_S = 0.2
"""Native calls return this often, so that Ctrl-C is heard."""
ROOM_STEPS = 32
"""Tokens of each completion that there is room for before native code asks for more."""
_ROWS_A_CALL, _FEWEST_ROWS = 1024, 64
_WORK_A_CALL = 50_000_000_000
"""Rows times weights of one call of a prefill, about: some seconds of a slow core."""
_NOT_FINITE = -2
_OUT_OF_MEMORY = -3


class Native:
    """Native decoding for one engine, where machine and model allow it.

    It takes float32, bfloat16 and float64 weights of the Llama family on a CPU. The first decoder is checked: its
    logits after a few tokens must be those of transformers' own forward pass; else there is none.
    """

    def __init__(self, model: Model, store: PrefixStore) -> None:
        self._model = model
        self._store = store
        self._agrees: bool | None = None

    def decoder(self, positions: int) -> "NativeDecoder | None":
        """Return a decoder for the model as it is now, its adapter included, or None where torch has to do it.

        `positions`: the longest context with its completion.
        """
        if self._agrees is False:
            return None
        made = _decoder(self._model, self._store, positions)
        if made is not None and self._agrees is None:
            self._agrees = _agrees(self._model)
            made.settle()
        return made if self._agrees else None


def _decoder(model: Model, store: PrefixStore, positions: int) -> "NativeDecoder | None":
    transformer = model.transformer
    if transformer.device.type != "cpu":
        return None
    weights = read_weights(transformer)
    code = None if weights is None else library(str(transformer.dtype).removeprefix("torch."))
    return None if weights is None or code is None else NativeDecoder(model, store, code, weights, positions)


def _agrees(model: Model) -> bool:
    """Compare native code with transformers on a few tokens."""
    transformer = model.transformer
    tokens = np.arange(8) * 7 % min(transformer.vocab_size, 97)
    store = PrefixStore(transformer)
    store.reserve(len(tokens), len(tokens))
    slots: list[int] = []
    for token in tokens.tolist():
        slots.append(store.slot(slots[-1] if slots else ROOT, token))
    context = Context(tokens, np.array(slots, dtype=np.int64), 0)
    native = _decoder(model, store, len(tokens))
    if native is None:
        return False
    native.prefill([context])
    ours = transformer.logits(transformer.norm(store.hidden(context.slots)))
    theirs = transformer.model(torch.from_numpy(tokens)[None], use_cache=False).logits[0]
    tolerance = 0.1 if transformer.dtype == torch.bfloat16 else 1e-3
    # The median over tokens, since in bfloat16 transformers' own logits of a first token may be far from exact ones:
    # its activations are a hundred times larger than those of later tokens.
    # Logits that are all 0 (a token whose row of the embedding is 0) are off by what they differ.
    size = theirs.float().norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    off = (ours - theirs).float().norm(dim=-1) / size
    return bool(off.median() <= tolerance)


class NativeDecoder:
    """The decoder of one engine call. Reads weights and writes the store in place; nothing is copied.

    `positions`: the longest context with its completion.
    """

    def __init__(self, model: Model, store: PrefixStore, code: Any, weights: Weights, positions: int) -> None:
        self.model = model
        self.store = store
        self._code = code
        self._weights = weights
        self._rope = self._turns(positions)
        addresses, numbers = weights.addresses(self._rope)
        sums = np.array([weights.eps, model.transformer.scaling])
        arrays = (self._sizes(), sums, _int64(addresses), np.array(numbers), self._cells())
        self._handle = ctypes.c_void_p(code.creditree_new(*(_at(array) for array in arrays)))
        if self._handle.value is None:
            _check(_OUT_OF_MEMORY)
        weakref.finalize(self, code.creditree_free, self._handle)

    def settle(self) -> None:
        """Prepare the weights for being read over and over."""
        gather(self._weights.largest())

    def prefill(self, contexts: Sequence[Context], read: Callable[[int], None] | None = None) -> None:
        """Forward the contexts' new tokens one by one, in order: a row for each."""
        paths = np.concatenate([context.slots for context in contexts]).astype(np.int32)
        starts, lengths = [], []
        at = 0
        for context in contexts:
            starts.append(np.full(context.new, at))
            lengths.append(np.arange(context.stored, len(context.slots)) + 1)
            at += len(context.slots)
        first, size = (np.concatenate(parts).astype(np.int64) for parts in (starts, lengths))
        self._code.creditree_cells(self._handle, _at(self._cells()))
        rows = self._rows_a_call
        for start in range(0, len(size), rows):
            piece = slice(start, start + rows)
            status = self._code.creditree_forward(
                self._handle, _at(paths), len(paths), _at(first[piece]), _at(size[piece]), len(size[piece])
            )
            _check(status)
            if read is not None:
                read(len(size[piece]))

    @property
    def _rows_a_call(self) -> int:
        """Rows of one call of a prefill: so many that Ctrl-C is heard within seconds, and weights are read seldom."""
        return max(_FEWEST_ROWS, min(_ROWS_A_CALL, _WORK_A_CALL // max(1, self._num_weights)))

    @property
    def _num_weights(self) -> int:
        return sum(projection.weight.numel() for layer in self._weights.layers for projection in layer.projections)

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw all completions to their ends."""
        end = self.store.used + completions.slots_at_most
        self.store.reserve(min(len(live.which) * ROOM_STEPS, completions.slots_at_most), completions.slots_at_most)
        stopped = completions.stopped.view(np.uint8)
        tables = [completions.uniform, completions.budget, completions.tokens, completions.drawn, completions.slots]
        outputs = [completions.logprobs, completions.sampler_logprobs, completions.entropies, stopped]
        addresses = [_address(array) for array in tables + outputs]
        ends = np.zeros(self.model.transformer.vocab_size, dtype=np.uint8)
        ends[[token for token in self.model.eos_ids if 0 <= token < len(ends)]] = True
        fields = _int64([_address(ends), completions.tokens.shape[1], *addresses, len(completions)])
        sampling = np.array([completions.sampling.temperature, completions.sampling.top_p])
        paths, done = live.read.astype(np.int32), np.zeros(3, dtype=np.int64)
        self._code.creditree_cells(self._handle, _at(self._cells()))
        status = self._code.creditree_begin(
            self._handle, _at(sampling), _at(fields), len(live.length), _at(paths), _at(live.length), paths.shape[1],
            len(live.which), _at(live.which), _at(live.row),
        )  # fmt: skip
        _check(status)
        watched = self._watched(completions)
        if watched and completions.observed[live.which].any():
            _check(self._code.creditree_watch(self._handle, _at(_int64([*watched[0], *map(_address, watched[1])]))))
        going = len(live.which)
        while going:
            self.store.reserve(going, max(going, end - self.store.used))
            self._code.creditree_cells(self._handle, _at(self._cells()))
            going = self._code.creditree_run(self._handle, ctypes.c_double(_PATIENCE_S), _at(done))
            self.store.used = int(done[1])
            _check(going)
            completions.beat()
        ledger.decoded += int(done[0])
        ledger.influence_tokens += int(done[2])

    def _watched(self, completions: Completions) -> tuple[list[int], list[NDArray[Any] | None]] | None:
        """Return what the attention is summed for: numbers and tables, in the order in which native code reads them."""
        spec, transformer = completions.spec, self.model.transformer
        if spec is None:
            return None
        layers, heads = transformer.num_layers, transformer.num_heads
        ends = np.zeros(transformer.vocab_size, dtype=np.uint8)
        for level in spec.separators.levels[:1]:
            ends[[token for token in level if token < len(ends)]] = 1
        chosen: list[NDArray[Any]] = [
            np.isin(np.arange(count), list(range(count) if some is None else some)).astype(np.uint8)
            for count, some in ((layers, spec.layers), (heads, spec.heads))
        ]
        tables = [ends, *chosen, completions.observed.view(np.uint8), completions.prompt_tokens]
        results = [completions.influence, completions.scored.view(np.uint8)]
        return [spec.delta, layers, heads], [*tables, *results]

    def _sizes(self) -> IntArray:
        transformer = self.model.transformer
        mlp = self._weights.layers[0].projections[4].outputs
        heads = transformer.num_heads, transformer.num_kv_heads, transformer.head_dim
        keep = -1 if self.store.keep_layer is None else self.store.keep_layer
        width, vocab = transformer.hidden_size, transformer.vocab_size
        rows = len(self._weights.embed), len(self._rope[0])
        return _int64([len(self._weights.layers), width, *heads, mlp, vocab, keep, torch.get_num_threads(), *rows])

    def _turns(self, positions: int) -> tuple[Tensor, Tensor]:
        kind = torch.float64 if self.model.transformer.dtype == torch.float64 else torch.float32
        cos, sin = self.model.transformer.rope(self._weights.embed[:1, None], torch.arange(positions)[None])
        return cos[0].to(kind).contiguous(), sin[0].to(kind).contiguous()

    def _cells(self) -> NDArray[np.int64]:
        store = self.store
        tensors = [pointer(store.last_hidden), pointer(store.trunk_hidden)]
        arrays = [_address(a) for a in (store.first_child, store.next_sibling, store.token, store.decoded)]
        layers = [pointer(layer) for layer in store.kv] or [0] * len(self._weights.layers)  # none before room was made
        return _int64([store.used, store.capacity, *tensors, *arrays, *layers])


def _check(status: int) -> None:
    """Raise for what native code refused: NonFiniteError, MemoryError, or IndexError for what lies outside."""
    if status == _NOT_FINITE:
        raise NonFiniteError(NO_DISTRIBUTION)
    if status == _OUT_OF_MEMORY:
        raise MemoryError("native code had not enough memory")
    if status < 0:
        raise IndexError("native code was given a token, slot or length outside its tables")


def _int64(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _address(array: NDArray[Any] | None) -> int:
    return 0 if array is None else int(array.ctypes.data)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    """Return an address that keeps its array: one made for a call would be gone before native code has read it."""
    return array.ctypes.data_as(ctypes.c_void_p)
