"""Record a step once and replay it: a CUDA graph on CUDA, the step itself elsewhere."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = Callable[[], None]
_WARM_UPS = 2
_COMPILE = False
"""Whether steps go through torch.compile before they are captured; `benchmarks/gpu_decode.py` measures both."""
_SHAPES = 256
"""Compiled versions of a step that torch keeps, one for each shape; its default of 8 is too few."""


class Recorder:
    """Turns steps into replays that share one pool of memory: replays of one recorder must not overlap.

    A step reads and writes tensors that stay where they are, and nothing else. Where a step cannot be captured, it is
    run as it is from then on, and so are later ones: `failure` says why.
    """

    def __init__(self, device: torch.device, compiled: bool | None = None) -> None:
        """Record for `device`; `compiled`: through torch.compile, where it works."""
        self._captures = device.type == "cuda"
        self._compiles = _COMPILE if compiled is None else compiled
        self._pool = torch.cuda.graph_pool_handle() if self._captures else None
        # one for all warm-ups: freed memory stays with the stream that it was used on
        self._stream = torch.cuda.Stream(device) if self._captures else None
        self.captured = 0
        self.failure: str | None = None

    def record(self, step: Step, state: Sequence[Tensor]) -> Step:
        """Return what does the same as `step`; `state` are the tensors that the step both reads and writes."""
        if self._compiles:
            step = self._compiled(step, state)
        if not self._captures or self._stream is None:
            return step
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                rehearse(step, state)
        torch.cuda.current_stream().wait_stream(self._stream)
        return self._capture(step)

    def _capture(self, step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._captures, self.failure = False, str(error).partition("\n")[0]
            torch.cuda.synchronize()
            return step
        self.captured += 1
        return graph.replay

    def _compiled(self, step: Step, state: Sequence[Tensor]) -> Step:
        # a compiler may be missing, or fail on this model, in ways that share no class of exception
        try:
            import torch._dynamo

            compiled: Step = torch.compile(step, dynamic=False)
            with torch._dynamo.config.patch(recompile_limit=_SHAPES):
                rehearse(compiled, state)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self._compiles, self.failure = False, str(error).partition("\n")[0]
            return step
        return compiled


def rehearse(step: Step, state: Sequence[Tensor]) -> None:
    """Run the step and undo it. What it writes without reading is written again by the real run."""
    before = [tensor.clone() for tensor in state]
    try:
        step()
    finally:
        for tensor, held in zip(state, before, strict=True):
            tensor.copy_(held)
