"""Why a run whose method made no update learned nothing: only what its counts and records show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from creditree.evaluate.legible import Counts
from creditree.ledger import Ledger
from creditree.methods import AXES, Method
from creditree.train.sameness import EASIER, HARDER, VARIED


@dataclass(frozen=True, slots=True)
class Taught:
    """What the steps of a method gave the learner.

    `groups`: problems that were sampled, and `mixed`: of these, with different rewards of what was sampled from the
    prompt;  `reached`: whether any of them reached the learner;  `useful`: whether any token had an advantage other
    than 0, and `selected`: a weight;  `pieces`: which pieces decided that, by axis, as a sentence names them.
    """

    groups: int = 0
    mixed: int = 0
    reached: bool = False
    useful: bool = False
    selected: bool = False
    pieces: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Sequence[Mapping[str, Any]], method: Method | None = None) -> "Taught":
        """Return what the records of a run's steps say; without its method, pieces are named by their keys alone."""
        own = [record for record in metrics if not record.get("warm_start")]
        names = {axis: f"method.{axis}" for axis in AXES}
        if method is not None:
            names = {piece.axis: f"{names[piece.axis]} '{piece.name}'" for piece in method.pieces}
        if method is None or method.objective.corrects:
            names["select"] += " or method.sampler_correction"
        groups = [(record.get("problems") or 0, record.get("mixed_share") or 0.0) for record in own]
        return cls(
            sum(count for count, _ in groups),
            sum(round(count * share) for count, share in groups),
            any(record.get("problems_trained") for record in own),
            any(record.get("useful_share") for record in own),
            any(record.get("selected_share") for record in own),
            names,
        )

    @property
    def cause(self) -> str | None:
        """Why nothing was learned although completions, or their tokens, differed; None where they did not."""
        if self.useful:
            without = "every token with an advantage" if self.selected else "every token"
            return f"{self.pieces['select']} gave {without} the weight 0"
        if not self.mixed:
            return None
        differed = f"although rewards differed in {self.mixed:,} of {self.groups:,} problems"
        if not self.reached:
            return f"{self.pieces['schedule']} let none of the problems reach the learner, {differed}"
        return f"{self.pieces['credit']} gave every token an advantage of 0, or next to it, {differed}"


def nothing_learned(
    counts: Ledger, steps: int, max_new_tokens: int, taught: Taught, warm_updates: int = 0
) -> str | None:
    """Return why a run whose method made no update learned nothing, and what may help; None where it made one.

    `warm_updates`: of a warm start before it, of the counts.
    """
    if counts.updates > warm_updates:
        return None
    cause, cure = _cause(counts, max_new_tokens, taught)
    left = "the warm start left" if warm_updates else "the run started from"
    return (
        f"Nothing was learned: in none of the {steps:,} steps there was an update (updates: 0), because {cause}; what "
        f"is saved is what {left}{f'. To learn, {cure}' if cure else ''}."
    )


def _cause(counts: Ledger, max_new_tokens: int, taught: Taught) -> tuple[str, str]:
    """Return why there was no update, and what may help, or ""."""
    judged = counts.completions - counts.failed_verdicts
    trouble = Counts(counts.completions, counts.truncated, counts.unparsable).trouble()
    causes = (
        (counts.skipped > 0, "every update was left out, as told above", ""),
        (judged == 0, "no completion got a reward", ""),
        (taught.cause is not None, str(taught.cause), "look at what it makes of them, in rollouts/"),
        (
            trouble == "truncated",
            f"nearly all completions were cut off at {max_new_tokens:,} tokens",
            "raise sampling.max_new_tokens",
        ),
        (
            trouble == "unparsable",
            "in nearly no completion an answer was found",
            "look at the completions in rollouts/, and at task.prompt and reward",
        ),
        (counts.solved == judged, "every completion was right", HARDER),
        (counts.worthless == judged, "every completion got the reward 0", EASIER),
        (
            taught.groups > 0,
            "in each problem all completions that were sampled from its prompt got the same reward",
            VARIED,
        ),
        (True, "no token had an advantage other than 0", ""),
    )
    return next((cause, cure) for holds, cause, cure in causes if holds)
