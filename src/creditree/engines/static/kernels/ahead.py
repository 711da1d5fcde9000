"""Reading weights ahead: a kernel asks for those that later kernels multiply with, so that memory is never idle.

A kernel of few rows waits most of its time: for the last one's end, for its first loads, for the sums of others. What
is asked for meanwhile is in the GPU's cache when its turn comes, if the cache keeps it: `benchmarks/gpu_ways.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

LINE = 64
"""Numbers that an asked-for piece is a multiple of: a line of memory in 16 bits, two in 32."""


@dataclass(frozen=True, slots=True)
class Lookahead:
    """How far kernels ask ahead, in bytes: each for at most `each`, none further than `window` past its own weights."""

    each: int
    window: int


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """Part of a matrix: `numbers` of it, from number `begin` on."""

    weight: Tensor
    begin: int
    numbers: int

    @property
    def tensor(self) -> Tensor:
        """What begins there."""
        return self.weight.detach().view(-1)[self.begin :]


def regions(weights: Sequence[Tensor | None], lookahead: Lookahead) -> list[list[Region]]:
    """Return what each kernel asks for: at most two regions, of matrices that come after its own, none of them twice.

    `weights`: each kernel's matrix, in the order of the kernels; None for one without.
    """
    matrices = [weight for weight in weights if weight is not None]
    ends = [sum(matrix.nbytes for matrix in matrices[: place + 1]) for place in range(len(matrices))]
    plan: list[list[Region]] = []
    cursor, known = 0, 0
    for weight in weights:
        known += weight is not None
        past = ends[known - 1] if known else 0
        cursor = max(cursor, past)
        until = min(cursor + lookahead.each, past + lookahead.window)
        after: list[Region] = []
        for matrix, end in zip(matrices[known:], ends[known:], strict=True):
            low, high = max(cursor, end - matrix.nbytes), min(until, end)
            if high <= low:
                continue
            size = matrix.element_size()
            numbers = (high - low) // size // LINE * LINE
            if numbers == 0 or len(after) == 2:
                break
            after.append(Region(matrix, (low - end + matrix.nbytes) // size, numbers))
            cursor = low + numbers * size if high < end else end
        plan.append(after)
    return plan
