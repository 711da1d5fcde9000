"""The form of a decode step in Triton kernels, where Triton is there."""

from importlib.util import find_spec
from typing import Any

from creditree.engines.static.graphs import Step
from creditree.engines.static.step import DecodeStep

ScratchRooms = dict[int, Any]
"""Memory that steps of so many padded rows share: whoever records steps holds it as long as these are replayed."""


def triton_step(plain: DecodeStep, rooms: ScratchRooms) -> Step:
    """Return a plain step in Triton kernels. RuntimeError, in one sentence, where that cannot be."""
    if find_spec("triton") is None:
        raise RuntimeError("Triton is not installed")
    from creditree.engines.static.kernels.launch import compile_ahead
    from creditree.engines.static.kernels.step import Parts, Scratch, TritonStep
    from creditree.engines.static.kernels.tiles import MOST_ROWS, row_block

    rows = plain.buffers.grid.rows
    if rows > MOST_ROWS:
        raise RuntimeError(f"{rows} rows are more than {MOST_ROWS}")
    parts = Parts.of(plain.transformer)
    block_m = row_block(rows)
    if block_m not in rooms:
        rooms[block_m] = Scratch.of(parts, block_m)
    step = TritonStep(plain, parts, rooms[block_m])
    compile_ahead(step.launches)
    return step
