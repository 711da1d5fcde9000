"""The store of computed prefixes: one slot for each token of a prefix tree, whoever shares it."""

from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.models.attention import grouped_attention
from creditree.models.transformer import Transformer
from creditree.tree import IntArray

ROOT = 0
"""The slot before every first token. Padding is written there, and nothing is read from it."""
SMALLEST = 1024
"""Slots that there is room for at first."""
_FIRST = count(1 << 32, 1 << 32)
"""Handles of the root, one for each store and time that it was cleared: slots are int32, so these never meet."""


def room_for(have: int, used: int, more: int, at_most: int) -> int:
    """Return the slots to have room for: `have` while `more` fit after `used`; then twice that, `at_most` more."""
    need = used + more
    return have if need <= have else max(need, min(max(2 * have, SMALLEST), used + at_most))


class PrefixStore:
    """Keys, values and last hidden states of the tokens seen since `clear`, found again by the tokens before them.

    A slot belongs to one (slot before it, token id) pair, so sequences share slots as far as their token ids agree: n
    completions share their prompt, and a fork finds the prefix that it keeps. A slot whose last hidden state is stored
    (`is_decoded`) never needs another forward pass.

    With `keep_layer`, the inputs of that layer are kept too, for a learner whose first adapted layer it is (`trunk`).
    Slots are a linked list of children in arrays (first_child, next_sibling, token), which native code walks as well.

    Outside the engine a slot goes by its handle, so that nobody has to walk from token to token to find what is stored:
    its number among those of all stores of this process, counted anew at each `clear`. So a handle of what was
    forgotten, or of another store's, is recognised; of two, the larger is the newer one. 0 is nobody's.
    """

    def __init__(self, transformer: Transformer, keep_layer: int | None = None) -> None:
        self.transformer = transformer
        self.keep_layer = keep_layer
        self.kv: list[Tensor] = []
        self.last_hidden = torch.zeros(0)
        self.trunk_hidden: Tensor | None = None
        self.first_child, self.next_sibling, self.token = (np.zeros(1, dtype=np.int32) for _ in range(3))
        self.decoded = np.zeros(1, dtype=np.uint8)
        self.used = 1
        self._first = next(_FIRST)

    @property
    def capacity(self) -> int:
        """How many slots there is room for."""
        return len(self.kv[0]) if self.kv else 0

    def clear(self) -> None:
        """Forget every prefix; memory is kept for the next use, unless the last one needed much less."""
        if self.capacity > max(SMALLEST, 4 * self.used):
            self.release()
        self.first_child[ROOT] = 0
        self._first = next(_FIRST)
        self.used = 1

    def release(self) -> None:
        """Forget every prefix, and give the memory back."""
        self.kv, self.last_hidden, self.trunk_hidden = [], torch.zeros(0), None
        self.first_child, self.next_sibling, self.token = (np.zeros(1, dtype=np.int32) for _ in range(3))
        self.decoded = np.zeros(1, dtype=np.uint8)
        self._first = next(_FIRST)
        self.used = 1

    def handles(self, slots: IntArray) -> IntArray:
        """Return the handles of slots; 0 for the root."""
        return np.where(slots == ROOT, 0, slots + self._first)

    def known(self, handles: IntArray, token_ids: IntArray) -> list[int]:
        """Return the slots of the first handles, up to one that is of another token, or of none that is stored here."""
        slots, valid = self._held(handles)
        valid &= self.token[np.where(valid, slots, ROOT)] == token_ids[: len(handles)]
        leading: list[int] = slots[: len(slots) if valid.all() else int(valid.argmin())].tolist()
        return leading

    def _held(self, handles: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return the slots of handles, and which of them are this store's."""
        slots = handles - self._first
        return slots, (slots > ROOT) & (slots < self.used)

    def find(self, token_ids: IntArray, before: int = ROOT) -> list[int]:
        """Return the slots of the longest stored prefix of `token_ids`, behind slot `before`."""
        slots: list[int] = []
        for token in token_ids.tolist():
            before = self._child(before, token)
            if before == ROOT:
                break
            slots.append(before)
        return slots

    def slot(self, before: int, token: int) -> int:
        """Return the slot of `token` after slot `before`, a new one (below the capacity) if it has none yet."""
        child = self._child(before, token)
        if child != ROOT:
            return child
        fresh = self.used
        self.used += 1
        self.token[fresh], self.first_child[fresh], self.decoded[fresh] = token, 0, 0
        self.next_sibling[fresh] = self.first_child[before]
        self.first_child[before] = fresh
        return fresh

    def _child(self, before: int, token: int) -> int:
        at = int(self.first_child[before])
        while at != ROOT and self.token[at] != token:
            at = int(self.next_sibling[at])
        return at

    def reserve(self, more: int, at_most: int) -> None:
        """Make room for `more` new slots. Room doubles, so that growing costs O(1) a token, up to `at_most` new ones.

        Slots that nobody writes to stay untouched: on a CPU they take address space, no memory.
        """
        have, need = self.capacity, self.used + more
        if need <= have:
            return
        size = room_for(have, self.used, more, at_most)
        model = self.transformer
        if not self.kv:
            self.kv = [self._room(0, model.kv_width)] * model.num_layers
            self.last_hidden = self._room(0, model.hidden_size)
        for layer, old in enumerate(self.kv):  # one by one, so that only one of them is held twice
            self.kv[layer] = self._grown(old, size)
        self.last_hidden = self._grown(self.last_hidden, size)
        if self.keep_layer is not None:
            kept = self._room(0, model.hidden_size) if self.trunk_hidden is None else self.trunk_hidden
            self.trunk_hidden = self._grown(kept, size)
        for name in ("first_child", "next_sibling", "token", "decoded"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(max(0, size - len(array)), dtype=array.dtype)]))

    def _room(self, slots: int, width: int) -> Tensor:
        return torch.empty(slots, width, dtype=self.transformer.dtype, device=self.transformer.device)

    def _grown(self, tensor: Tensor, slots: int) -> Tensor:
        room = self._room(slots, tensor.shape[1])
        room[: len(tensor)] = tensor
        room[ROOT] = 0
        return room

    def is_decoded(self, slots: IntArray) -> NDArray[np.bool_]:
        """Return for each slot whether its last hidden state is stored."""
        return self.decoded[slots].astype(np.bool_)

    def keep_hidden(self, slots: IntArray, hidden: Tensor) -> None:
        """Store the states after the last layer, before the final norm, [n, width]."""
        self.last_hidden.index_copy_(0, torch.from_numpy(slots).to(hidden.device), hidden)
        self.decoded[slots] = 1

    def keep_trunk(self, slots: Tensor, hidden: Tensor) -> None:
        """Store the inputs of layer `keep_layer`, [n, width]."""
        if self.trunk_hidden is not None:
            self.trunk_hidden.index_copy_(0, slots, hidden)

    def trunk(self, handles: IntArray) -> Tensor | None:
        """Return the inputs of layer `keep_layer` [N, width] of tokens; None where any of them is not stored."""
        slots, valid = self._held(handles)
        if self.trunk_hidden is None or not valid.all():
            return None
        return self.trunk_hidden.index_select(0, torch.from_numpy(slots).to(self.trunk_hidden.device))

    def hidden(self, slots: IntArray) -> Tensor:
        """Return stored states [n, width]."""
        return self.last_hidden.index_select(0, torch.from_numpy(slots).to(self.last_hidden.device))

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Store keys and values [B, H_kv, Q, D] in slots [B, Q]."""
        both = torch.stack([key, value], dim=1).permute(0, 3, 1, 2, 4).reshape(slots.numel(), -1)
        self.kv[layer].index_copy_(0, slots.reshape(-1), both)

    def read(self, layer: int, slots: Tensor, heads: int) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, H_kv, T, D] of slots [B, T]."""
        batch, length = slots.shape
        both = self.kv[layer].index_select(0, slots.reshape(-1)).view(batch, length, 2, heads, -1)
        return both[:, :, 0].transpose(1, 2), both[:, :, 1].transpose(1, 2)


@dataclass(frozen=True, eq=False, slots=True)
class StorePlan:
    """Attend from this pass's tokens to the store: write their keys and values, then read each row's own prefix.

    `write` [B, Q]: slots of this pass's tokens;  `read` [B, T]: slots of each row's prefix and this pass's tokens;
    `mask` [B, 1, Q, T]: True where a token may look.
    """

    store: PrefixStore
    write: Tensor
    read: Tensor
    mask: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [B, H, Q, D]."""
        self.store.write(layer, self.write, key, value)
        keys, values = self.store.read(layer, self.read, key.shape[1])
        return grouped_attention(query, keys, values, self.mask, scaling)
