"""What a run may go back to: the state after its last whole step, and the last one that is known to be sound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from creditree.errors import NonFiniteError
from creditree.learner.learner import Learner
from creditree.runs.checkpoint import Checkpoint
from creditree.runs.directory import RunDirectory
from creditree.train.in_flight import Arrays
from creditree.train.state import sorted_by_owner

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
    """A whole step with the learner's arrays; None: what the learner holds for as long as it has made `updates`."""

    whole: Whole
    arrays: Arrays | None
    updates: int


class Keeper:
    """Writes checkpoints, and knows which states are sound.

    The weights after an update are known to be sound once the next loss and gradient, which they give, are finite.
    Until then the state before the update is kept: in memory where an adapter learns, which is small, and in the newest
    checkpoint that is known to be sound, which nothing removes.
    """

    def __init__(
        self, learner: Learner, run: RunDirectory, every_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """`every_s`: seconds between checkpoints by time."""
        self._learner, self._run, self._every_s, self._clock = learner, run, every_s, clock
        self._before: Arrays | None = None
        self._took_s = 0.0

    def begin(self, whole: Whole, *, saved: bool = False, sound_step: int | None = None) -> None:
        """Start at a whole step, which the learner holds; `saved`: there is a checkpoint of it.

        `sound_step`: of the newest checkpoint that is known to be sound, None where none is.
        """
        self._now = _Kept(whole, None, self._learner.num_updates)
        self._saved = whole.step if saved else None
        self._sound_step = sound_step
        # Without a better one on the disk, what the process began with is what it can go back to.
        self._sound = None if sound_step is not None and sound_step != whole.step else self._now
        self._looked_at = self._clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._clock() - self._looked_at >= max(self._every_s, self._took_s / WRITING_SHARE)

    def learning(self) -> None:
        """Keep what the learner holds before the first update of a step, where it is an adapter."""
        if self._learner.trained.folder == "adapter":
            self._before = self._learner.arrays()

    def done(self, whole: Whole, *, proven: bool) -> None:
        """Take the state after a step; `proven`: loss and gradient of the weights before it were finite."""
        if proven:
            self._sound = _Kept(self._now.whole, self._before, self._now.updates)
            self._sound_step = self._saved
        self._now, self._before = _Kept(whole, None, self._learner.num_updates), None

    def save(self) -> None:
        """Write a checkpoint of the last whole step, unless there is one or no step was made.

        In the middle of a step whose updates cannot be taken back nothing is written: the one before stays.
        """
        arrays = self._learner.arrays() if self._is_held(self._now) else self._before
        if arrays is not None and self._now.whole.step not in (0, self._saved):
            self._write(self._now.whole, arrays)

    def rewind(self, whole: Whole) -> None:
        """Go back to an earlier whole step, since which the learner has not changed, and write its checkpoint."""
        self._now = _Kept(whole, None, self._now.updates)
        self._write(whole, self._learner.arrays())

    def back(self) -> int | None:
        """Go back to the last sound state, in the learner and on the disk; return its step, None where none is left.

        Raises RunError where its checkpoint cannot be read.
        """
        kept = self._sound
        if kept is not None and (kept.arrays is not None or self._is_held(kept)):
            if kept.arrays is not None:
                self._learner.load_arrays(kept.arrays)
            self.begin(kept.whole, saved=True, sound_step=kept.whole.step)
            self._write(kept.whole, self._learner.arrays())
            return kept.whole.step
        self._run.forget_checkpoints(after=-1 if self._sound_step is None else self._sound_step)
        checkpoint = None if self._sound_step is None else self._run.restore()[0]
        if checkpoint is None:
            return None
        self._learner.load_arrays(sorted_by_owner(checkpoint)["learner"])
        self.begin(Whole(checkpoint.step, checkpoint.state, {}), saved=True, sound_step=checkpoint.step)
        return checkpoint.step

    def _is_held(self, kept: _Kept) -> bool:
        return kept.updates == self._learner.num_updates

    def _write(self, whole: Whole, arrays: Arrays) -> None:
        begun = self._clock()
        broken = next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)
        if broken is not None:
            raise NonFiniteError(f"{broken} is not finite after step {whole.step}, and is not kept.")
        record = {**whole.record, "sound_step": self._sound_step}
        self._run.save(Checkpoint(whole.step, arrays | whole.arrays, record), sound_step=self._sound_step)
        self._saved = whole.step
        self._looked_at = self._clock()
        self._took_s = self._looked_at - begun
