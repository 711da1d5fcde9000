"""What a run may go back to: the state after its last whole step, and the last one that is known to be sound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditree.learner.learner import Learner
from creditree.runs.checkpoint import Checkpoint
from creditree.runs.directory import RunDirectory

Arrays = dict[str, NDArray[np.generic]]
WRITING_SHARE = 0.05
"""Checkpoints by time take at most this share of it, however large they are."""


@dataclass(frozen=True, eq=False, slots=True)
class Whole:
    """All of a checkpoint after a whole step but what the learner holds: plain values, and arrays by name."""

    step: int
    record: Mapping[str, Any]
    arrays: Arrays


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """A whole step with the learner's arrays; None: they are what the learner holds while it has made `updates`."""

    whole: Whole
    arrays: Arrays | None
    updates: int


class Keeper:
    """Writes checkpoints, and knows which states are sound.

    The weights after an update are sound once the next loss and gradient are found finite: until then the state before
    the update is kept, in memory where an adapter learns (it is small), and in the newest checkpoint from before in any
    case, which nothing removes.
    """

    def __init__(
        self, learner: Learner, run: RunDirectory, every_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._learner, self._run, self._every_s, self._clock = learner, run, every_s, clock
        self._before: Arrays | None = None
        self._saved: int | None = None
        self._sound_saved: int | None = None
        self._looked = clock()
        self._took = 0.0
        self._whole: Whole
        self._sound: _Kept | None = None

    def begin(self, whole: Whole, *, saved: bool = False, sound: int | None = None) -> None:
        """Start at a whole step, which the learner holds; `saved`: there is a checkpoint of it.

        `sound`: the step of the newest checkpoint that is known to be sound, None where none is.
        """
        self._whole, self._updates = whole, self._learner.num_updates
        self._saved, self._sound_saved = whole.step if saved else None, sound
        self._looked = self._clock()

    @property
    def step(self) -> int:
        """The last whole step."""
        return self._whole.step

    def learning(self) -> None:
        """Keep what the learner holds before the first update of a step, where it is an adapter."""
        if self._learner.trained.folder == "adapter":
            self._before = self._learner.arrays()

    def done(self, whole: Whole, *, proven: bool) -> None:
        """Take the state after a step; `proven`: its loss and gradient, of the weights before it, were finite."""
        if proven:
            self._sound = _Kept(self._whole, self._before, self._updates)
            self._sound_saved = self._saved
        self._whole, self._updates, self._before = whole, self._learner.num_updates, None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        wait = max(self._every_s, self._took / WRITING_SHARE)
        return self._clock() - self._looked >= wait

    def save(self, whole: Whole | None = None) -> None:
        """Write a checkpoint of the last whole step, unless there is one, or nothing was done.

        Nothing is written in the middle of a step whose updates cannot be taken back: then the one before stays.
        `whole`: an earlier step, since which the learner has not changed.
        """
        chosen = whole or self._whole
        arrays = self._learner.arrays() if self._learner.num_updates == self._updates else self._before
        if chosen.step not in (0, self._saved) and arrays is not None:
            self._write(_Kept(chosen, arrays, self._updates))

    def back(self) -> int | None:
        """Go back to the last sound state, in the learner and on the disk; return its step, None: none is left.

        Raises RunError where its checkpoint cannot be read.
        """
        kept = self._sound
        if kept is not None and (kept.arrays is not None or kept.updates == self._learner.num_updates):
            if kept.arrays is not None:
                self._learner.load_arrays(kept.arrays)
            self._write(_Kept(kept.whole, self._learner.arrays(), self._learner.num_updates))
            return kept.whole.step
        if kept is None and self._learner.num_updates == self._first and self._sound_saved is None:
            return self._whole.step
        self._run.forget_checkpoints(self._sound_saved)
        if self._sound_saved is None:
            return None
        checkpoint, _ = self._run.restore()
        assert checkpoint is not None
        self._learner.load_arrays(learners(checkpoint.arrays))
        return checkpoint.step
