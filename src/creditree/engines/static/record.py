"""Record a step once and replay it: a CUDA graph on CUDA, the step itself elsewhere."""

import warnings
from collections.abc import Sequence
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from creditree.engines.static.graphs import CudaGraphs, Graph, Graphs, Step

Kernels = Literal["plain", "fused"]
_MOST_FAILURES = 3
"""Failed captures after which none is tried any more: each takes as long as one that works."""
_GAIN = 0.95
"""Fused kernels are taken where a step takes at most this share of the plain step's time."""


class Recorder:
    """Turns steps into replays that share one pool of memory: replays of one recorder must not overlap.

    A step reads and writes tensors that stay where they are, and nothing else. One that cannot be captured is run as it
    is, which on a GPU is several times as slow: a RuntimeWarning says so once, `failure` says why, and `eager` counts
    such runs. `captured` counts the captures, and `seconds` is what recording took.

    A step that comes with a `fused` form is recorded in the faster one: `kernels` says which that is, once the first
    such step has been timed in both (`paces`, seconds a replay). Where fused kernels cannot be made, `not_fused` says
    why, and the plain ones stay.
    """

    def __init__(self, device: torch.device, kernels: Kernels | None = None, graphs: Graphs | None = None) -> None:
        """Record for `device`; `kernels`: None to measure;  `graphs`: default: the device's."""
        self._graphs = graphs or (CudaGraphs(device) if device.type == "cuda" else None)
        self._mark = torch.zeros(1, device=device)
        self._pool: object = None
        self._anchor: Graph | None = None
        self._failures = 0
        self.kernels = kernels
        self.paces: dict[Kernels, float] = {}
        self.not_fused: str | None = None
        self.captured = 0
        self.eager = 0
        self.seconds = 0.0
        self.failure: str | None = None

    def record(self, step: Step, state: Sequence[Tensor], fused: Step | None = None) -> Step:
        """Return what does the same as `step`; `state` are the tensors that the step both reads and writes."""
        began = perf_counter()
        try:
            if self._graphs is None:
                return fused if fused is not None and self.kernels == "fused" else step
            if fused is None or self.kernels == "plain":
                return self._plain(self._graphs, step, state)
            return self._faster(self._graphs, step, fused, state)
        finally:
            self.seconds += perf_counter() - began

    def _faster(self, graphs: Graphs, step: Step, fused: Step, state: Sequence[Tensor]) -> Step:
        """Return the fused step, or the plain one where that is the faster or the only one; found out once."""
        other = self._fused(graphs, fused, state)
        if other is None:
            self.kernels = "plain"
            return self._plain(graphs, step, state)
        if self.kernels is None:
            plain = self._recorded(graphs, step, state)
            if plain is not None:
                self.paces = {"plain": graphs.seconds(plain, state), "fused": graphs.seconds(other, state)}
                self.kernels = "fused" if self.paces["fused"] <= _GAIN * self.paces["plain"] else "plain"
                return (other if self.kernels == "fused" else plain).replay
        return other.replay

    def _plain(self, graphs: Graphs, step: Step, state: Sequence[Tensor]) -> Step:
        graph = self._recorded(graphs, step, state)
        return self._counted(step) if graph is None else graph.replay

    def _recorded(self, graphs: Graphs, step: Step, state: Sequence[Tensor]) -> Graph | None:
        if self._failures >= _MOST_FAILURES:
            return None
        graphs.warm_up(step, state)
        try:
            return self._capture(graphs, step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._failed(_first_line(error))
            return None

    def _fused(self, graphs: Graphs, step: Step, state: Sequence[Tensor]) -> Graph | None:
        # a compiler may be missing, or fail on this model, in ways that share no class of exception
        try:
            graphs.warm_up(step, state)
            return self._capture(graphs, step)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.not_fused = _first_line(error)
            self._anchor = None
            return None

    def _capture(self, graphs: Graphs, step: Step) -> Graph:
        self._hold_pool(graphs)
        graph = graphs.capture(step, self._pool)
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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
