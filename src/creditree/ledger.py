"""The ledger: what a piece of work cost, in tokens and in seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from time import perf_counter, process_time

TRAINING_PHASES = ("sample", "judge", "explore", "credit", "learn")
"""The phases that are training; the others measure."""


def _alone() -> float:
    return 0.0


@dataclass(slots=True)
class Seconds:
    """Wall and CPU seconds by phase. `stage`: the phase that runs now;  `entered`: how many were begun or ended.

    `helped_s` returns the processor seconds that other processes have worked for this one so far.
    """

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    stage: str | None = field(default=None, compare=False)
    entered: int = field(default=0, compare=False)
    helped_s: Callable[[], float] = field(default=_alone, compare=False, repr=False)

    @property
    def training_wall(self) -> float:
        """Wall seconds of training."""
        return sum(self.wall.get(phase, 0.0) for phase in TRAINING_PHASES)

    @property
    def training_cpu(self) -> float:
        """Processor seconds of training: this process's, and those of its helpers."""
        return sum(self.cpu.get(phase, 0.0) for phase in TRAINING_PHASES)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to phase `name`."""
        wall, cpu = perf_counter(), self._cpu()
        outer, self.stage, self.entered = self.stage, name, self.entered + 1
        try:
            yield
        finally:
            self.stage, self.entered = outer, self.entered + 1
            self.wall[name] = self.wall.get(name, 0.0) + perf_counter() - wall
            self.cpu[name] = self.cpu.get(name, 0.0) + self._cpu() - cpu

    def _cpu(self) -> float:
        return process_time() + self.helped_s()


@dataclass(slots=True)
class Ledger:
    """Counts of work. Tokens are counted, not estimated.

    - `completions`: branches sampled;  `sampled`: tokens drawn, every completion counted in full
    - `withheld`: of these, tokens of branches that do not learn, sampled to find where others may start
    - `unique_prefixes`: different prefixes that had a next token drawn, summed over trees
    - `decoded`: next-token distributions computed to draw them (each row of a decode step, and the last of a prefill);
      fewer than unique prefixes only where branches grow on completions of an earlier step, which are prefilled
    - `prefilled`: prompt tokens forwarded before the first draw
    - `influence_tokens`: tokens forwarded for influence alone: by its pass, or the last one of a completion in decoding
    - `measured_tokens`: tokens forwarded without gradient before an update: for `adapter_residual` (with the adapter
      and without it, counted once), for prefixes that match by their hidden states, for old log-probabilities, for
      the ratios of whole sequences (`gspo`), or for entropies that a server does not tell
    - `forwarded`: skeleton tokens that the learner forwarded;  `in_loss`: loss terms
    - `updates`: optimiser steps;  `no_signal`: training steps without one, because every advantage was zero
    - `skipped`: updates that were left out because something in them was not finite, or the gradient too large
    - `failed_verdicts`: completions that got no reward (never trained on)
    - `captures`: decoding steps recorded as graphs on a GPU;  `eager`: decoding steps there that no graph launched,
      each several times as slow as one that is
    - `truncated`: completions that were cut off at the limit of tokens;  `solved`, `worthless`: with a reward of at
      least 1, and of exactly 0
    - `unparsable`, `timeouts`, `crashes`: completions by the status of their verdict; the others were `ok`
    """

    completions: int = 0
    sampled: int = 0
    withheld: int = 0
    unique_prefixes: int = 0
    decoded: int = 0
    prefilled: int = 0
    influence_tokens: int = 0
    measured_tokens: int = 0
    forwarded: int = 0
    in_loss: int = 0
    updates: int = 0
    no_signal: int = 0
    skipped: int = 0
    failed_verdicts: int = 0
    captures: int = 0
    eager: int = 0
    truncated: int = 0
    solved: int = 0
    worthless: int = 0
    unparsable: int = 0
    timeouts: int = 0
    crashes: int = 0

    def add(self, other: "Ledger") -> None:
        """Add the counts of `other`."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
