"""Record a step once and replay it: a CUDA graph on CUDA, the step itself elsewhere."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from creditree.engines.static.graphs import CudaGraphs, Graph, Graphs, Step

Kernels = Literal["plain", "triton", "triton-pdl", "triton-early"]
_MOST_FAILURES = 3
"""Failed captures after which none is tried any more: each takes as long as one that works."""
_GAIN = 0.95
"""Other kernels are taken where a step takes at most this share of the plain step's time."""


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """A step in other kernels. `make` and `check`, which looks at what it computes, raise where it is no use."""

    kernels: Kernels
    make: Callable[[], Step]
    check: Callable[[Step], None] | None = None

    def made(self) -> Step:
        """Make it, and look at it."""
        step = self.make()
        if self.check is not None:
            self.check(step)
        return step


class Recorder:
    """Turns steps into replays that share one pool of memory: replays of one recorder must not overlap.

    A step reads and writes tensors that stay where they are, and nothing else. One that cannot be captured is run as it
    is, which on a GPU is several times as slow: a RuntimeWarning says so once, `failure` says why, and `eager` counts
    such runs. `captured` counts the captures, and `seconds` is what recording took.

    A step that comes in other forms, too, is recorded in the fastest one: found out once for each size of step, by
    timing them (`paces`, seconds a replay, of the last size that was measured). `kernels` says which was taken last;
    where one could not be made, or computed something else, `refused` says why, and the others stay.
    """

    def __init__(self, device: torch.device, kernels: Kernels | None = None, graphs: Graphs | None = None) -> None:
        """Record for `device`; `kernels`: None to measure;  `graphs`: default: the device's."""
        self._graphs = graphs or (CudaGraphs(device) if device.type == "cuda" else None)
        self._mark = torch.zeros(1, device=device)
        self._pool: object = None
        self._anchor: Graph | None = None
        self._failures = 0
        self._taken: dict[int, Kernels] = {}
        self.wanted = kernels
        self.kernels = kernels
        self.paces: dict[Kernels, float] = {}
        self.refused: dict[Kernels, str] = {}
        self.captured = 0
        self.eager = 0
        self.seconds = 0.0
        self.failure: str | None = None

    def record(self, step: Step, state: Sequence[Tensor], forms: Sequence[Form] = (), size: int = 0) -> Step:
        """Return what does the same as `step`; `state` are the tensors that the step both reads and writes.

        `forms`: the step in other kernels, those first that are tried first;  `size`: of what is alike enough to be
        fastest in the same form.
        """
        began = perf_counter()
        try:
            chosen = self.wanted or self._taken.get(size)
            if chosen is not None:
                forms = [form for form in forms if form.kernels == chosen]
            if self._graphs is None:
                self.kernels = forms[0].kernels if forms and chosen is not None else "plain"
                return step if self.kernels == "plain" else forms[0].make()
            if not forms:
                self.kernels = "plain"
                return self._plain(self._graphs, step, state)
            self.kernels, replay = self._fastest(self._graphs, step, state, forms, measured=chosen is None)
            self._taken[size] = self.kernels
            return replay
        finally:
            self.seconds += perf_counter() - began

    def _fastest(
        self, graphs: Graphs, step: Step, state: Sequence[Tensor], forms: Sequence[Form], *, measured: bool
    ) -> tuple[Kernels, Step]:
        """Return the fastest form that can be made: the first one, unless it is to be measured."""
        made: dict[Kernels, Graph] = {}
        plain: Graph | None = None
        for form in forms:
            graph = self._other(graphs, form, state)
            if graph is None:
                continue
            if not measured:
                return form.kernels, graph.replay
            if not made:
                plain = self._recorded(graphs, step, state)
                if plain is None:
                    return form.kernels, graph.replay
                self.paces = {"plain": graphs.seconds(plain, state)}
            made[form.kernels] = graph
            self.paces[form.kernels] = graphs.seconds(graph, state)
        if plain is None:
            return "plain", self._plain(graphs, step, state)
        best = min(made, key=lambda name: self.paces[name])
        if self.paces[best] <= _GAIN * self.paces["plain"]:
            return best, made[best].replay
        return "plain", plain.replay

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

    def _other(self, graphs: Graphs, form: Form, state: Sequence[Tensor]) -> Graph | None:
        # a compiler may be missing, or fail on this model, in ways that share no class of exception
        try:
            step = form.made()
            graphs.warm_up(step, state)
            return self._capture(graphs, step)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.refused[form.kernels] = _first_line(error)
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
