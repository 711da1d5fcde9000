"""Out of memory: what it looks like, and the next smaller size to try."""

import torch

from creditree.batch import Batch
from creditree.learner.stretches import stretches_of

SMALLEST_MICRO_BATCH = 16
"""Tokens. Below this the layers' own buffers weigh more than the tokens. Ours."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: on a GPU, in numpy, or in torch on a CPU, which has no class for it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def smaller(batch: Batch, max_tokens: int) -> int | None:
    """Return half of `max_tokens`, or of what is left of it until the largest stretch shrinks; None if it cannot."""
    largest = max(stretch.largest for stretch in stretches_of(batch, max_tokens))
    size = min(max_tokens, batch.num_tokens) // 2
    while size >= SMALLEST_MICRO_BATCH:
        if max(stretch.largest for stretch in stretches_of(batch, size)) < largest:
            return size
        size //= 2
    return None
