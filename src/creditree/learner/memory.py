"""Out of memory in a pass over a batch: it is made again with smaller micro-batches."""

from collections.abc import Callable
from typing import TypeVar

import torch

from creditree.batch import Batch
from creditree.errors import ModelError, is_out_of_memory
from creditree.learner.stretches import stretches_of

SMALLEST_MICRO_BATCH = 16
"""Tokens. Below this the layers' own buffers weigh more than the tokens. Ours."""

Result = TypeVar("Result")


def fitting(batch: Batch, max_tokens: int, made: Callable[[int], Result]) -> tuple[Result, int]:
    """Return what `made` makes of the batch with micro-batches of a size that fits the memory, and the size.

    The size is `max_tokens`, or smaller where memory ran out. Raises ModelError where there is no smaller one.
    """
    size: int | None = max_tokens
    while size is not None:
        try:
            return made(size), size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # here the failed pass is no longer referred to, and its memory is free
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = smaller(batch, size)
    raise ModelError(
        f"out of memory in an update of {batch.num_tokens} tokens, however small its parts; lower method.group or "
        "sampling.max_new_tokens, or use a smaller model."
    )


def smaller(batch: Batch, max_tokens: int) -> int | None:
    """Return half of `max_tokens`, or of what is left of it until the largest stretch shrinks; None if it cannot."""
    largest = max(stretch.largest for stretch in stretches_of(batch, max_tokens))
    size = min(max_tokens, batch.num_tokens) // 2
    while size >= SMALLEST_MICRO_BATCH:
        if max(stretch.largest for stretch in stretches_of(batch, size)) < largest:
            return size
        size //= 2
    return None
