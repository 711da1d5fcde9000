"""Weights on huge pages: what is read from end to end comes faster where fewer addresses have to be translated."""

import ctypes
import sys
from collections import Counter
from collections.abc import Iterable

from torch import Tensor

PAGE = 2 << 20
"""Bytes of a huge page on x86-64 and most others; where it has another size, the system refuses: nothing is lost."""
_SHARE = PAGE // 8
"""Bytes of weights that make a page worth moving: an allocator puts small tensors where there is room, not in order."""
_COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1 and later: move what is there onto huge pages now."""


def gather(tensors: Iterable[Tensor]) -> None:
    """Ask the system to move tensors onto huge pages. Values and addresses stay; where it refuses, so do the pages.

    Takes about a second a gigabyte, once: what lies on huge pages already is not moved again. Whatever else lies on
    these pages moves with them.
    """
    if not sys.platform.startswith("linux"):
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start in pages_of((t.data_ptr(), t.numel() * t.element_size()) for t in tensors):
        advise(start, PAGE, _COLLAPSE)  # one by one: the system stops at the first that it refuses


def pages_of(areas: Iterable[tuple[int, int]]) -> list[int]:
    """Return where the huge pages start of which areas, each an address and a number of bytes, fill an eighth."""
    filled = Counter[int]()
    for start, size in areas:
        for page in range(start // PAGE * PAGE, start + size, PAGE):
            filled[page] += min(start + size, page + PAGE) - max(start, page)
    return sorted(page for page, size in filled.items() if size >= _SHARE)
