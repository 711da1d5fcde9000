"""What changes from step to step, besides the learner's own arrays and the problems in flight."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from creditree.errors import RunError
from creditree.ledger import Ledger, Seconds
from creditree.runs.checkpoint import Checkpoint
from creditree.train.in_flight import Arrays
from creditree.train.unrewarded import Reasons


@dataclass(slots=True)
class State:
    """Counts and choices of a run up to a step.

    `best` is what was trained at the best validation, `worse` how many validations since were no better; `skipped` and
    `unjudged` count the last steps in a row without an update because something was not finite, and without a reward.
    `unrewarded`: why completions got no reward, so far.
    `earlier_s`: wall seconds of the processes that worked on this run before this one, up to their checkpoints.
    """

    step: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    seconds: Seconds = field(default_factory=Seconds)
    best_reward: float | None = None
    best_step: int = 0
    worse: int = 0
    skipped: int = 0
    unjudged: int = 0
    unrewarded: Reasons = field(default_factory=dict)
    earlier_s: float = 0.0
    best: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return all but the arrays, as a checkpoint holds it."""
        return {
            "ledger": self.ledger.as_dict(),
            "wall": dict(self.seconds.wall),
            "cpu": dict(self.seconds.cpu),
            "best_reward": self.best_reward,
            "best_step": self.best_step,
            "worse": self.worse,
            "skipped": self.skipped,
            "unjudged": self.unjudged,
            "unrewarded": {kind: list(reason) for kind, reason in self.unrewarded.items()},
        }

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "State":
        """Return what a checkpoint holds. Raises RunError for one that another version wrote."""
        saved: Any = checkpoint.state
        try:
            return cls._of(checkpoint, saved)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The checkpoint of step {checkpoint.step} was written by another version of Creditree ({error!r} is "
                "not as it is now); continue with that version, or start a new run."
            ) from error

    @classmethod
    def _of(cls, checkpoint: Checkpoint, saved: Any) -> "State":
        return cls(
            step=checkpoint.step,
            ledger=Ledger(**saved["ledger"]),
            seconds=Seconds(dict(saved["wall"]), dict(saved["cpu"])),
            best_reward=saved["best_reward"],
            best_step=saved["best_step"],
            worse=saved["worse"],
            skipped=saved.get("skipped", 0),
            unjudged=saved.get("unjudged", 0),
            unrewarded={kind: (str(first), int(n)) for kind, (first, n) in saved.get("unrewarded", {}).items()},
            earlier_s=saved["elapsed_s"],
            best=dict(sorted_by_owner(checkpoint)["best"]),
        )


def sorted_by_owner(checkpoint: Checkpoint) -> dict[str, Arrays]:
    """Return a checkpoint's arrays by whose they are: of the best validation, of problems in flight, of the learner."""
    by_owner: dict[str, Arrays] = {"best": {}, "flying": {}, "learner": {}}
    for name, array in checkpoint.arrays.items():
        owner, _, rest = name.partition("/")
        if owner == "best":
            by_owner["best"][rest] = array
        else:
            by_owner["flying" if owner == "flying" else "learner"][name] = array
    return by_owner
