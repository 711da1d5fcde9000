"""Record a step once and replay it: a CUDA graph on CUDA, the step itself elsewhere."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from creditree.engines.static.graphs import CudaGraphs, Graph, Graphs, Step, rehearse

_COMPILE = False
"""Whether steps go through torch.compile before they are captured; `benchmarks/gpu_decode.py` measures both."""
_SHAPES = 256
"""Compiled versions of a step that torch keeps, one for each shape; its default of 8 is too few."""
_MOST_FAILURES = 3
"""Failed captures after which none is tried any more: each takes as long as one that works."""


class Recorder:
    """Turns steps into replays that share one pool of memory: replays of one recorder must not overlap.

    A step reads and writes tensors that stay where they are, and nothing else. One that cannot be captured is run as it
    is, which on a GPU is several times as slow: a RuntimeWarning says so once, `failure` says why, and `eager` counts
    such runs. `captured` counts the captures.
    """

    def __init__(self, device: torch.device, compiled: bool | None = None, graphs: Graphs | None = None) -> None:
        """Record for `device`; `compiled`: through torch.compile, where it works; `graphs`: default: the device's."""
        self._compiles = _COMPILE if compiled is None else compiled
        self._graphs = graphs or (CudaGraphs(device) if device.type == "cuda" else None)
        self._mark = torch.zeros(1, device=device)
        self._pool: object = None
        self._anchor: Graph | None = None
        self._failures = 0
        self.captured = 0
        self.eager = 0
        self.failure: str | None = None

    def record(self, step: Step, state: Sequence[Tensor]) -> Step:
        """Return what does the same as `step`; `state` are the tensors that the step both reads and writes."""
        if self._compiles:
            step = self._compiled(step, state)
        if self._graphs is None:
            return step
        if self._failures < _MOST_FAILURES:
            self._graphs.warm_up(step, state)
            graph = self._capture(self._graphs, step)
            if graph is not None:
                return graph.replay
        return self._counted(step)

    def _capture(self, graphs: Graphs, step: Step) -> Graph | None:
        try:
            self._hold_pool(graphs)
            graph = graphs.capture(step, self._pool)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._failed(str(error).partition("\n")[0])
            return None
        self.captured += 1
        return graph

    def _hold_pool(self, graphs: Graphs) -> None:
        """Keep one graph of no weight alive in the pool.

        A pool ends with the last of its graphs, and is then refused to later captures; but recorded steps are dropped
        whenever weights move or grids are evicted, all of them at times.
        """
        if self._anchor is None:
            self._pool = graphs.new_pool()
            self._anchor = graphs.capture(self._add_nothing, self._pool)

    def _add_nothing(self) -> None:
        self._mark.add_(0)

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self._anchor = None  # the pool of a broken capture may be broken too
        if self.failure is None:
            warnings.warn(
                f"a decoding step could not be recorded as a CUDA graph and is launched kernel by kernel, which is "
                f"several times as slow ({reason}).",
                RuntimeWarning,
                stacklevel=2,
            )
        self.failure = reason

    def _counted(self, step: Step) -> Step:
        def run() -> None:
            self.eager += 1
            step()

        return run

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
