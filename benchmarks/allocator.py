"""Peak of live bytes as torch's allocator sees it: exact, and free of what the system does with pages.

On CUDA that is `torch.cuda.max_memory_allocated`. On a CPU the profiler reports each allocation and each release; their
running sum is what is live. What native code and numpy hold is not in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


@dataclass(slots=True)
class Peak:
    """Bytes above what was live when the block began: at most (`peak`), and when it ended (`left`)."""

    peak: int = 0
    left: int = 0


@contextmanager
def allocator_peak(device: str = "cpu") -> Iterator[Peak]:
    """Measure the block; the numbers are there when it has ended."""
    found = Peak()
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        yield found
        torch.cuda.synchronize()
        found.peak = torch.cuda.max_memory_allocated() - before
        found.left = torch.cuda.memory_allocated() - before
        return
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        yield found
    live = 0
    for _, nbytes in _changes(recorded):
        live += nbytes
        found.peak = max(found.peak, live)
    found.left = live


def _changes(recorded: profile) -> list[tuple[int, int]]:
    """Return the allocations (bytes > 0) and releases (< 0) with their times, in order."""
    results: Any = recorded.profiler.kineto_results if recorded.profiler is not None else None
    events = [event for event in results.events() if event.name() == "[memory]"]
    return sorted(((event.start_ns(), event.nbytes()) for event in events), key=lambda change: change[0])
