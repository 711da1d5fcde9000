"""The store of computed prefixes: one slot for each token of a prefix tree, whoever shares it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditree.models.attention import grouped_attention
from creditree.models.transformer import Transformer
from creditree.tree import IntArray

_ROOT = -1
_PADDING_SLOT = 0


class PrefixStore:
    """Keys, values and last hidden states of the tokens seen since `clear`, found again by the tokens before them.

    A slot belongs to one (slot before it, token id) pair, so sequences share slots as far as their token ids agree: n
    completions share their prompt, and a fork finds the prefix that it keeps. A slot whose last hidden state is stored
    (`is_decoded`) never needs another forward pass. Slot 0 is where padding is written.
    """

    def __init__(self, transformer: Transformer) -> None:
        self._layers: list[Tensor] = []
        self._hidden = torch.zeros(0)
        self._decoded = np.zeros(0, dtype=np.bool_)
        self._transformer = transformer
        self._children: dict[tuple[int, int], int] = {}
        self._used = 1

    def clear(self) -> None:
        """Forget every prefix; memory is kept for the next use."""
        self._children.clear()
        self._decoded[:] = False
        self._used = 1

    def find(self, token_ids: IntArray) -> list[int]:
        """Return the slots of the longest stored prefix of `token_ids`."""
        slots: list[int] = []
        before = _ROOT
        for token in token_ids.tolist():
            slot = self._children.get((before, token))
            if slot is None:
                break
            slots.append(slot)
            before = slot
        return slots

    def slot(self, before: int | None, token: int) -> int:
        """Return the slot of `token` after slot `before` (None: at the start), a new one if it has none yet."""
        pair = (_ROOT if before is None else before, token)
        slot = self._children.get(pair)
        if slot is None:
            slot = self._children[pair] = self._used
            self._used += 1
        return slot

    def reserve(self) -> None:
        """Make room for every slot handed out. Room doubles, so that growing costs O(1) a token."""
        have = len(self._decoded)
        if self._used <= have:
            return
        more = max(1024, have, self._used - have)
        model = self._transformer
        if not self._layers:
            self._layers = [self._room(0, model.kv_width)] * model.num_layers
            self._hidden = self._room(0, model.hidden_size)
        for layer in range(model.num_layers):
            self._layers[layer] = torch.cat([self._layers[layer], self._room(more, model.kv_width)])
        self._hidden = torch.cat([self._hidden, self._room(more, model.hidden_size)])
        self._decoded = np.concatenate([self._decoded, np.zeros(more, dtype=np.bool_)])

    def _room(self, slots: int, width: int) -> Tensor:
        return torch.zeros(slots, width, dtype=self._transformer.dtype, device=self._transformer.device)

    def is_decoded(self, slots: IntArray) -> NDArray[np.bool_]:
        """Return for each slot whether its last hidden state is stored."""
        return self._decoded[slots]

    def keep_hidden(self, slots: IntArray, hidden: Tensor) -> None:
        """Store the states after the last layer, before the final norm, [n, width]."""
        self._hidden.index_copy_(0, torch.from_numpy(slots).to(hidden.device), hidden)
        self._decoded[slots] = True

    def hidden(self, slots: IntArray) -> Tensor:
        """Return stored states [n, width]."""
        return self._hidden.index_select(0, torch.from_numpy(slots).to(self._hidden.device))

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Store keys and values [B, H_kv, Q, D] in slots [B, Q]."""
        both = torch.stack([key, value], dim=1).permute(0, 3, 1, 2, 4).reshape(slots.numel(), -1)
        self._layers[layer].index_copy_(0, slots.reshape(-1), both)

    def read(self, layer: int, slots: Tensor, heads: int) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, H_kv, T, D] of slots [B, T]."""
        batch, length = slots.shape
        both = self._layers[layer].index_select(0, slots.reshape(-1)).view(batch, length, 2, heads, -1)
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
