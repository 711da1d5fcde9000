"""Whether every row is finished: asked of the device without waiting for what it is doing now."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHECK_EVERY = 16
"""Steps from one check to the next. Steps are queued up to twice as many ahead of the device."""


class Watch:
    """Copies a counter on the device to pinned memory at each check, and reads the copy of the check before.

    So a check waits for work queued one check ago only, while the device still has a check's worth of steps to do; at
    most 2 * `CHECK_EVERY` steps are made after the last row finished.
    """

    def __init__(self, left: Tensor, event: Callable[[], Any] | None = None) -> None:
        """Watch `left` [1], the number of unfinished rows. `event` makes what `torch.cuda.Event` makes."""
        self._left = left
        self._host = torch.zeros(2, dtype=left.dtype, pin_memory=left.is_cuda)
        self._event = event or (torch.cuda.Event if left.is_cuda else _Nothing)
        self._pending: Any = None
        self._checks = 0
        self.unfinished: int | None = None
        """Rows that had not ended one check before the last one; None before the second check."""

    def all_finished(self) -> bool:
        """Ask anew, and return what the last call asked; False at the first call."""
        place = self._checks % 2
        self._checks += 1
        self._host[place : place + 1].copy_(self._left, non_blocking=True)
        event = self._event()
        event.record()
        before, self._pending = self._pending, event
        if before is None:
            return False
        before.synchronize()
        self.unfinished = int(self._host[1 - place])
        return self.unfinished == 0


class _Nothing:
    """The event of a device that has done everything when a call returns."""

    def record(self) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""
