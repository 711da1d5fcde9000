"""Attention over a token tree on CUDA by FlexAttention: blocks of 128 x 128 where no query sees a key are skipped."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from creditree.models.arrays import on_device
from creditree.tree import IntArray

BLOCK = 128
"""FlexAttention's own block size."""
FEWEST_DIMENSIONS = 16
"""Its kernels need heads at least this wide."""
FEWEST_PAIRS = 1 << 24
"""Pairs of query and key that blocks would compute (4,096 tokens each in one chain) from which it is used. Ours:
compiling took 20 s, more than all updates of a small model together."""

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def mask_of(at: Tensor, begin: Tensor, end: Tensor) -> MaskMod:
    """Return the mask by preorder intervals: query q sees key k iff begin[k] <= at[q] < end[k]."""

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (begin[key] <= at[query]) & (at[query] < end[key])

    return sees


def block_mask_of(at: IntArray, begin: IntArray, end: IntArray, device: torch.device) -> BlockMask:
    """Return the blocks to compute, found from intervals and never from a mask of all pairs.

    A block of keys counts for a block of queries if the interval of any of its keys meets that of the queries.
    """
    starts = np.arange(0, len(at), BLOCK)
    first, last = np.minimum.reduceat(at, starts)[:, None], np.maximum.reduceat(at, starts)[:, None]
    meets = (begin <= last) & (end > first)
    needed = np.logical_or.reduceat(meets, np.arange(0, len(begin), BLOCK), axis=1)
    # the blocks needed first, in order; how many they are says where the rest begins
    indices = np.argsort(~needed, axis=1, kind="stable").astype(np.int32)
    counts = needed.sum(axis=1).astype(np.int32)
    tensors = (on_device(array.astype(np.int32), device) for array in (at, begin, end))
    mask: BlockMask = BlockMask.from_kv_blocks(
        on_device(counts, device)[None, None],
        on_device(indices, device)[None, None],
        BLOCK_SIZE=BLOCK,
        mask_mod=mask_of(*tensors),
        seq_lengths=(len(at), len(begin)),
    )
    return mask


class FlexBlocks:
    """What `Blocks` of tree_attention does, in one fused kernel."""

    def __init__(self, at: IntArray, begin: IntArray, end: IntArray, device: torch.device, kernel: Any = None) -> None:
        """Take queries and keys by their preorder numbers; `kernel`: None for the compiled one."""
        self.mask = block_mask_of(at, begin, end, device)
        self._kernel = _compiled() if kernel is None else kernel

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return the attention outputs [1, H, n, D] of queries [1, H, n, D] over keys and values [1, H_kv, m, D]."""
        shared = query.shape[1] != key.shape[1]
        out: Tensor = self._kernel(query, key, value, block_mask=self.mask, scale=scaling, enable_gqa=shared)
        return out


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)


@cache
def flex_works(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    """Return whether FlexAttention can be compiled and run, both ways: tried once on a few tokens."""
    if device.type != "cuda" or size < FEWEST_DIMENSIONS or dtype == torch.float64:  # Triton has no float64 products
        return False
    try:
        order = np.arange(2 * BLOCK)
        query = torch.zeros(1, 2, len(order), size, dtype=dtype, device=device, requires_grad=True)
        key = torch.zeros(1, 1, len(order), size, dtype=dtype, device=device, requires_grad=True)
        with torch.enable_grad():
            out = FlexBlocks(order, order, np.full(len(order), len(order)), device).attend(query, key, key, 1.0)
            torch.autograd.grad(out.sum(), (query, key))
    except Exception:  # whatever a compiler may raise: without it the blocks of tree_attention do the same
        return False
    return True
