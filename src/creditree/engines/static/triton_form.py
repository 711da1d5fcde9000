"""The forms of a decode step in Triton kernels, where Triton is there."""

from importlib.util import find_spec
from typing import Any, Literal

from creditree.engines.static.graphs import Step
from creditree.engines.static.step import DecodeStep

ScratchRooms = dict[int, Any]
"""Memory that steps of so many padded rows share: whoever records steps holds it as long as these are replayed."""
TritonForm = Literal["triton", "triton-pdl", "triton-early"]
TRITON_FORMS: dict[TritonForm, Literal["none", "late", "early"]] = {
    "triton": "none",
    "triton-pdl": "late",
    "triton-early": "early",
}
"""Forms, and when a kernel lets the next one begin (`kernels.launch.Options`)."""


def triton_step(plain: DecodeStep, rooms: ScratchRooms, form: TritonForm = "triton") -> Step:
    """Return a plain step in Triton kernels. RuntimeError, in one sentence, where that cannot be.

    The first step of so many padded rows finds out which tiles are fastest, where a model is large enough to gain.
    """
    if find_spec("triton") is None:
        raise RuntimeError("Triton is not installed")
    from creditree.engines.static.kernels.launch import Options, compile_ahead
    from creditree.engines.static.kernels.scratch import Parts, Scratch
    from creditree.engines.static.kernels.step import TritonStep
    from creditree.engines.static.kernels.tiles import FEWEST_BYTES, MOST_ROWS, row_block
    from creditree.engines.static.kernels.tune import tuned

    rows = plain.buffers.grid.rows
    if rows > MOST_ROWS:
        raise RuntimeError(f"{rows} rows are more than {MOST_ROWS}")
    parts = Parts.of(plain.transformer)
    block_m = row_block(rows)
    if block_m not in rooms:
        size = sum(parameter.nbytes for parameter in plain.transformer.model.parameters())
        pays = parts.head.device.type == "cuda" and size >= FEWEST_BYTES
        rooms[block_m] = tuned(plain, parts, block_m)[0] if pays else Scratch.of(parts, block_m)
        if pays:
            compile_forms(plain, parts, rooms[block_m])
    step = TritonStep(plain, parts, rooms[block_m], Options(TRITON_FORMS[form]))
    compile_ahead(step.launches)
    return step


def compile_forms(plain: DecodeStep, parts: Any, scratch: Any) -> None:
    """Compile the kernels of all forms side by side: one after the other they would take as long each."""
    from creditree.engines.static.kernels.launch import Options, compile_ahead
    from creditree.engines.static.kernels.step import TritonStep

    steps = [TritonStep(plain, parts, scratch, Options(pdl)) for pdl in TRITON_FORMS.values()]
    compile_ahead([launch for step in steps for launch in step.launches])
