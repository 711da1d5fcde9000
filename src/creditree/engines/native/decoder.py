"""Decoding by native code: a whole rollout is a few calls, whatever the number of tokens."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.native.library import library
from creditree.engines.store import ROOT, PrefixStore
from creditree.ledger import Ledger
from creditree.models.family import LayerWeights, norm_eps, read_layer
from creditree.models.load import Model
from creditree.models.transformer import Transformer
from creditree.tree import IntArray

_PATIENCE_S = 0.2
"""Native calls return this often, so that Ctrl-C is heard."""
_ROOM_STEPS = 32


class Native:
    """Native decoding for one engine, where machine and model allow it.

    It takes float32, bfloat16 and float64 weights of the Llama family on a CPU. The first decoder is checked: its
    logits after a few tokens must be those of transformers' own forward pass; else there is none.
    """

    def __init__(self, model: Model, store: PrefixStore) -> None:
        self._model = model
        self._store = store
        self._agrees: bool | None = None

    def decoder(self) -> "NativeDecoder | None":
        """Return a decoder for the model as it is now, its adapter included, or None where torch has to do it."""
        if self._agrees is False:
            return None
        found = _decoder(self._model, self._store)
        if found is not None and self._agrees is None:
            self._agrees = _agrees(self._model)
        return found if self._agrees else None


def _decoder(model: Model, store: PrefixStore) -> "NativeDecoder | None":
    transformer = model.transformer
    if transformer.device.type != "cpu":
        return None
    layers = [read_layer(layer) for layer in transformer.decoder_layers]
    ends = _ends(transformer)
    found = [layer for layer in layers if layer is not None and _plain(layer, transformer.dtype)]
    if ends is None or len(found) != len(layers) or len({layer.eps for layer in found} | {ends.eps}) != 1:
        return None
    code = library(str(transformer.dtype).removeprefix("torch."))
    return None if code is None else NativeDecoder(model, store, code, found, ends)


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
    native = _decoder(model, store)
    if native is None:
        return False
    native.prefill([context])
    ours = transformer.logits(transformer.norm(store.hidden(context.slots)))
    theirs = transformer.model(torch.from_numpy(tokens)[None], use_cache=False).logits[0]
    tolerance = 0.1 if transformer.dtype == torch.bfloat16 else 1e-3
    return bool((ours - theirs).abs().max() <= tolerance * theirs.abs().max())


class _Ends:
    """Embedding, final norm and head."""

    def __init__(self, embed: Tensor, norm: Tensor, head: Tensor, head_bias: Tensor | None, eps: float) -> None:
        self.embed, self.norm, self.head, self.head_bias, self.eps = embed, norm, head, head_bias, eps


def _ends(transformer: Transformer) -> _Ends | None:
    embed, norm, head = transformer.ends
    eps = norm_eps(norm)
    if eps is None or (type(embed), type(head)) != (torch.nn.Embedding, torch.nn.Linear):
        return None
    tensors = [embed.weight, norm.weight, head.weight] + ([] if head.bias is None else [head.bias])
    if not all(tensor.is_contiguous() and tensor.dtype == transformer.dtype for tensor in tensors):
        return None
    return _Ends(embed.weight, norm.weight, head.weight, head.bias, eps)


def _plain(layer: LayerWeights, dtype: torch.dtype) -> bool:
    """Whether every tensor is laid out as native code reads it, adapters in the type that sums are kept in."""
    adapter = torch.float64 if dtype == torch.float64 else torch.float32
    base = [layer.input_norm, layer.post_norm, *(t for t in (layer.q_norm, layer.k_norm) if t is not None)]
    for one in layer.projections:
        base += [one.weight] if one.bias is None else [one.weight, one.bias]
        if one.lora is not None and not all(t.dtype == adapter and t.is_contiguous() for t in (one.lora.a, one.lora.b)):
            return False
    return all(tensor.dtype == dtype and tensor.is_contiguous() for tensor in base)


class NativeDecoder:
    """The decoder of one engine call. Reads weights and writes the store in place; nothing is copied."""

    def __init__(
        self, model: Model, store: PrefixStore, code: Any, layers: Sequence[LayerWeights], ends: _Ends
    ) -> None:
        self.model = model
        self.store = store
        self._code = code
        self._held: list[Any] = []  # arrays and tensors whose addresses native code has
        self._layers, self._ends = layers, ends
        self._positions = 0

    def prefill(self, contexts: Sequence[Context]) -> None:
        """Forward the contexts' new tokens one by one, in order: a row for each."""
        with self._opened(max(len(context.slots) for context in contexts)) as handle:
            paths = np.concatenate([context.slots for context in contexts]).astype(np.int32)
            starts, lengths = [], []
            at = 0
            for context in contexts:
                starts.append(np.full(context.new, at))
                lengths.append(np.arange(context.stored, len(context.slots)) + 1)
                at += len(context.slots)
            first, size = (np.concatenate(parts).astype(np.int64) for parts in (starts, lengths))
            self._code.creditree_forward(handle, _at(paths), _at(first), _at(size), len(size))

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw all completions to their ends."""
        room = len(live.which) * _ROOM_STEPS
        self.store.reserve(room, completions.slots_at_most)
        stopped = completions.stopped.view(np.uint8)
        tables = [completions.uniform, completions.budget, completions.tokens, completions.drawn]
        outputs = [completions.logprobs, completions.sampler_logprobs, completions.entropies, stopped]
        fields = _int64([self.model.eos_id, completions.tokens.shape[1], *(_address(a) for a in tables + outputs)])
        sampling = np.array([completions.sampling.temperature, completions.sampling.top_p])
        paths, done = live.read.astype(np.int32), np.zeros(2, dtype=np.int64)
        longest = int(live.length.max()) + completions.tokens.shape[1]
        with self._opened(longest) as handle:
            self._code.creditree_begin(
                handle, _at(sampling), _at(fields), len(live.length), _at(paths), _at(live.length), paths.shape[1],
                len(live.which), _at(live.which), _at(live.row),
            )  # fmt: skip
            going = len(live.which)
            while going:
                self.store.reserve(min(going, completions.slots_at_most), completions.slots_at_most)
                self._code.creditree_cells(handle, _at(self._cells()))
                going = self._code.creditree_run(handle, ctypes.c_double(_PATIENCE_S), _at(done))
                self.store.used = int(done[1])
        ledger.decoded += int(done[0])

    def _opened(self, positions: int) -> "_Handle":
        weights, scales = self._weights(positions)
        size = self.model.transformer.config
        mlp = self._layers[0].projections[4].weight.shape[0]
        transformer = self.model.transformer
        heads = transformer.num_heads, transformer.num_kv_heads, transformer.head_dim
        keep = -1 if self.store.keep_layer is None else self.store.keep_layer
        sizes = _int64(
            [len(self._layers), size.hidden_size, *heads, mlp, transformer.vocab_size, keep, torch.get_num_threads()]
        )
        numbers = np.array([self._ends.eps, transformer.scaling])
        return _Handle(self._code, sizes, numbers, weights, scales, self._cells())

    def _weights(self, positions: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        transformer = self.model.transformer
        place = torch.arange(positions)[None]
        kind = torch.float64 if transformer.dtype == torch.float64 else torch.float32
        cos, sin = (t[0].to(kind).contiguous() for t in transformer.rope(self._ends.embed[:1, None], place))
        self._held = [cos, sin]
        ends = (self._ends.embed, self._ends.norm, self._ends.head, self._ends.head_bias, cos, sin)
        addresses, scales = [_pointer(t) for t in ends], []
        for layer in self._layers:
            addresses += [_pointer(t) for t in (layer.input_norm, layer.post_norm, layer.q_norm, layer.k_norm)]
            for one in layer.projections:
                a, b, rank, scale = (None, None, 0, 0.0) if one.lora is None else (
                    one.lora.a, one.lora.b, one.lora.a.shape[0], one.lora.scaling
                )  # fmt: skip
                addresses += [_pointer(one.weight), _pointer(one.bias), _pointer(a), _pointer(b), rank]
                scales.append(scale)
        return _int64(addresses), np.array(scales)

    def _cells(self) -> NDArray[np.int64]:
        store = self.store
        tensors = [_pointer(store.last_hidden), _pointer(store.trunk_hidden)]
        arrays = [_address(a) for a in (store.first_child, store.next_sibling, store.token, store.decoded)]
        return _int64([store.used, store.capacity, *tensors, *arrays, *(_pointer(layer) for layer in store.kv)])


class _Handle:
    """Owns one native object: freed at the end of the block."""

    def __init__(self, code: Any, *arrays: NDArray[Any]) -> None:
        self._code, self._arrays = code, arrays

    def __enter__(self) -> ctypes.c_void_p:
        self._handle = ctypes.c_void_p(self._code.creditree_new(*(_at(array) for array in self._arrays)))
        return self._handle

    def __exit__(self, *error: object) -> None:
        self._code.creditree_free(self._handle)


def _int64(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _address(array: NDArray[Any] | None) -> int:
    return 0 if array is None else int(array.ctypes.data)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else int(tensor.data_ptr())
