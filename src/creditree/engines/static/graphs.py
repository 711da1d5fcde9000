"""CUDA graphs: what a device is asked to do, recorded once and launched as a whole."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Step = Callable[[], None]
_WARM_UPS = 2
_TIMED = 8


class Graph(Protocol):
    """Something recorded. Its memory belongs to a pool, which is freed with the last graph that was captured in it."""

    def replay(self) -> None:
        """Do what was recorded."""
        ...


class Graphs(Protocol):
    """A device that can record steps."""

    def new_pool(self) -> object:
        """Return the name of a pool of memory, which exists from the first capture in it to the end of its graphs."""
        ...

    def warm_up(self, step: Step, state: Sequence[Tensor]) -> None:
        """Run the step a few times and undo it, as a capture needs."""
        ...

    def capture(self, step: Step, pool: object) -> Graph:
        """Record the step without running it. Raises RuntimeError where it cannot be, or the pool is gone."""
        ...

    def seconds(self, graph: Graph, state: Sequence[Tensor]) -> float:
        """Replay the step a few times, undo it, and return the seconds of a replay."""
        ...


class CudaGraphs:
    """The graphs of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # one for warm-ups and captures: freed memory stays with the stream that it was used on
        self._stream = torch.cuda.Stream(device)

    def new_pool(self) -> object:
        """Return the name of a new pool."""
        return torch.cuda.graph_pool_handle()

    def warm_up(self, step: Step, state: Sequence[Tensor]) -> None:
        """Run the step on the side stream, and undo it."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                rehearse(step, state)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def capture(self, step: Step, pool: object) -> Graph:
        """Record the step on the side stream.

        `torch.cuda.graph` would give all cached memory back to the driver before each capture; that took seconds, and
        is done here only where a capture lacks memory.
        """
        try:
            return self._captured(step, pool)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return self._captured(step, pool)

    def seconds(self, graph: Graph, state: Sequence[Tensor]) -> float:
        """Time replays between two events on the device, after one that is not counted."""
        rehearse(graph.replay, state)
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(_TIMED):
            rehearse(graph.replay, state)
        ended.record()
        ended.synchronize()
        return float(begun.elapsed_time(ended)) / 1000 / _TIMED

    def _captured(self, step: Step, pool: Any) -> Graph:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                step()
            finally:
                graph.capture_end()
        return graph


def rehearse(step: Step, state: Sequence[Tensor]) -> None:
    """Run the step and undo it. What it writes without reading is written again by the real run."""
    before = [tensor.clone() for tensor in state]
    try:
        step()
    finally:
        for tensor, saved in zip(state, before, strict=True):
            tensor.copy_(saved)
