"""Weights on huge pages: what is read from end to end comes faster where fewer addresses have to be translated."""

import ctypes
import sys
from collections.abc import Iterable

from torch import Tensor

PAGE = 2 << 20
"""Bytes of a huge page on x86-64 and most others; where it has another size, the system refuses: nothing is lost."""
_GAP = 64 << 10
"""Tensors that lie no further apart, as an allocator leaves them, may share a page."""
_COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1 and later: move what is there onto huge pages now."""


def gather(tensors: Iterable[Tensor]) -> None:
    """Ask the system to move tensors onto huge pages. Values and addresses stay; where it refuses, so do the pages.

    Takes about a third of a second a gigabyte, once: what lies on huge pages already is not moved again.
    """
    if not sys.platform.startswith("linux"):
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, stop in whole_pages((t.data_ptr(), t.numel() * t.element_size()) for t in tensors):
        advise(start, stop - start, _COLLAPSE)


def whole_pages(areas: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return from where to where whole huge pages are filled by areas, each an address and a number of bytes."""
    joined: list[tuple[int, int]] = []
    for start, size in sorted(areas):
        if joined and start - joined[-1][1] <= _GAP:
            joined[-1] = (joined[-1][0], max(joined[-1][1], start + size))
        else:
            joined.append((start, start + size))
    rounded = [(-(-start // PAGE) * PAGE, stop // PAGE * PAGE) for start, stop in joined]
    return [(start, stop) for start, stop in rounded if start < stop]
