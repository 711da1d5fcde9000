"""What an optimiser step did."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.learner.mismatch import NOT_COMPARED, Mismatch


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one call of `Learner.step` did. Norms are global, before clipping; l2 is of the penalty's own gradient.

    `micro_batch_tokens`: what it was in the end;  `note`: what the user should know, or None;  `clipped`: terms that
    the objective's clip kept from learning, of `in_loss`;  `mismatch`: of the terms that were compared with the engine;
    `skipped`: why no update was made of a batch that has a signal, None where it was;  `is_sound`: whether loss and
    gradient, and so the weights before, were finite;  `measured`: tokens forwarded once more, without gradient.
    """

    updated: bool
    loss: float
    grad_norm: float
    l2_grad_norm: float
    forwarded: int
    in_loss: int
    micro_batch_tokens: int = 0
    note: str | None = None
    clipped: int = 0
    mismatch: Mismatch = NOT_COMPARED
    skipped: str | None = None
    is_sound: bool = True
    measured: int = 0

    @property
    def clip_fraction(self) -> float:
        """Share of the loss terms that a clip kept from learning."""
        return self.clipped / self.in_loss if self.in_loss else 0.0

    @staticmethod
    def combined(steps: Sequence["StepStats"]) -> "StepStats":
        """Return several optimiser steps as one: counts added up, loss and norms averaged over those that updated."""
        if len(steps) == 1:
            return steps[0]
        made = [step for step in steps if step.updated]
        mean = {
            name: sum(getattr(stats, name) for stats in made) / max(len(made), 1)
            for name in ("loss", "grad_norm", "l2_grad_norm")
        }
        notes = [stats.note for stats in made if stats.note is not None]
        return StepStats(
            bool(made),
            **mean,
            forwarded=sum(stats.forwarded for stats in made),
            in_loss=sum(stats.in_loss for stats in made),
            micro_batch_tokens=steps[-1].micro_batch_tokens if steps else 0,
            note=notes[-1] if notes else None,
            clipped=sum(stats.clipped for stats in made),
            mismatch=sum((stats.mismatch for stats in made), NOT_COMPARED),
            skipped=next((step.skipped for step in steps if step.skipped is not None), None),
            is_sound=all(step.is_sound for step in steps),
            measured=sum(step.measured for step in steps),
        )
