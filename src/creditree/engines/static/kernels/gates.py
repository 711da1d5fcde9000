"""How programs of one Triton kernel wait for one another, through counters that are zero when a step begins."""

import triton
import triton.language as tl


@triton.jit
def arrive(counter):
    """Say that this program has done its units, once all its threads have."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")


@triton.jit
def wait(gate, patience, TIMED: tl.constexpr):
    """Wait until so many programs have arrived, and see what they wrote; return what is left of the patience.

    `gate`: the counter, how many (none: the gate is open), and where the clock is written down.
    """
    if gate[1] > 0:
        mark(gate[2], TIMED)
        arrived = tl.atomic_add(gate[0], 0, sem="acquire")
        while (arrived < gate[1]) & (patience > 0):
            patience -= 1
            arrived = tl.atomic_add(gate[0], 0, sem="acquire")
        tl.debug_barrier()
        mark(gate[2] + 1, TIMED)
    return patience


@triton.jit
def mark(place, TIMED: tl.constexpr):
    """Write down the processor's clock."""
    if TIMED:
        tl.store(place, tl.inline_asm_elementwise("mov.u64 $0, %clock64;", "=l", [], tl.int64, is_pure=False, pack=1))
