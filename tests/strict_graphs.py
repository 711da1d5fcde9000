"""A fake device that records steps and keeps the rules of CUDA's graphs and of the memory that they share."""

import gc
import weakref
from collections.abc import Sequence

import torch

from creditree.engines.static.graphs import Graph, Step, rehearse


class _Recorded:
    def __init__(self, step: Step) -> None:
        self._step = step

    def replay(self) -> None:
        self._step()


class StrictGraphs:
    """A pool lives from the first capture in it to the end of its last graph; later captures in it are refused.

    A capture runs nothing. `broken` captures fail, the next ones first;  `paces`: seconds of graphs, in the order in
    which they are asked for.
    """

    def __init__(self, broken: int = 0, paces: Sequence[float] = ()) -> None:
        self.broken = broken
        self.paces = list(paces)
        self.tried = 0
        self.warmed_up = 0
        self._alive: dict[object, weakref.WeakSet[_Recorded]] = {}

    def new_pool(self) -> object:
        return object()

    def warm_up(self, step: Step, state: Sequence[torch.Tensor]) -> None:
        self.warmed_up += 1
        rehearse(step, state)

    def capture(self, step: Step, pool: object) -> Graph:
        self.tried += 1
        if self.broken > 0:
            self.broken -= 1
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        gc.collect()
        if pool in self._alive and not self._alive[pool]:
            raise RuntimeError("use_count > 0 INTERNAL ASSERT FAILED: a pool is used again after its last graph")
        graph = _Recorded(step)
        self._alive.setdefault(pool, weakref.WeakSet()).add(graph)
        return graph

    def seconds(self, graph: Graph, state: Sequence[torch.Tensor]) -> float:
        rehearse(graph.replay, state)
        return self.paces.pop(0)
