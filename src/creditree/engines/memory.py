"""Out of memory in sampling: the call is made again with fewer completions together."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from creditree.errors import ModelError, is_out_of_memory

Result = TypeVar("Result")


class AtOnce:
    """What an engine takes at once: as it was asked to, and half of it each time that memory ran out.

    `rows`: completions decoded together;  `prefill_tokens`: of a prefill pass;  `stored_tokens`: whose keys and values
    are kept (None: all).
    """

    def __init__(self, rows: int, prefill_tokens: int, stored_tokens: int | None = None) -> None:
        self.rows, self.prefill_tokens, self.stored_tokens = rows, prefill_tokens, stored_tokens

    def fitting(self, count: int, sampled: Callable[[], Result], given_back: Callable[[], int]) -> Result:
        """Return what `sampled` makes of `count` completions, in as much room as there is.

        What is drawn depends on each completion's own key, so another try draws the same. `given_back` frees what a
        failed call holds, and returns how many tokens were stored. Raises ModelError where one completion alone takes
        more than there is.
        """
        while True:
            try:
                return sampled()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # here the failed call is no longer referred to, and its memory is free
            stored = given_back()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._halve(count, stored)

    def _halve(self, count: int, stored: int) -> None:
        rows = min(self.rows, count)
        if rows == 1:
            raise ModelError(
                "out of memory in sampling one completion; lower sampling.max_new_tokens, or use a smaller model."
            )
        self.rows, self.prefill_tokens = rows // 2, max(1, self.prefill_tokens // 2)
        self.stored_tokens = (stored if self.stored_tokens is None else min(self.stored_tokens, stored)) // 2
        warnings.warn(
            f"out of memory in sampling: {self.rows} completions are decoded together from now on, not {rows}.",
            RuntimeWarning,
            stacklevel=2,
        )
