"""The pace on a GPU: where the seconds of the first step went, and what no graph launched."""

from collections.abc import Mapping

from creditree.ledger import TRAINING_PHASES, Ledger
from creditree.report.wording import count, duration
from creditree.train.watchdog import STAGES

EAGER_CURE = (
    "the warning before the first of them says why; mostly it helps to update PyTorch and the GPU's driver, to leave "
    "memory free on the GPU, or to load a base in int8 or nf4 in bfloat16 (model.dtype)"
)


def first_step(step: int, before: Mapping[str, float], after: Mapping[str, float], cost: Ledger) -> str | None:
    """Return what the first step of a process took, phase by phase; None where nothing was recorded in it.

    `before`, `after`: wall seconds by phase.
    """
    if cost.captures == 0:
        return None
    spent = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in TRAINING_PHASES}
    parts = ", ".join(f"{STAGES[name]} {duration(seconds)}" for name, seconds in spent.items() if seconds >= 0.05)
    plural = "" if cost.captures == 1 else "s"
    return (
        f"step {step} took {duration(sum(spent.values()))}{f' ({parts})' if parts else ''}, with {cost.captures} "
        f"decoding step{plural} recorded as graphs and kernels compiled for the first time; later steps take less"
    )


def eager_words(counts: Ledger) -> str | None:
    """Return how many decoding steps no graph launched, and the cure; None where there were none."""
    if counts.eager == 0:
        return None
    return (
        f"{count(counts.eager)} decoding steps were launched kernel by kernel instead of as recorded CUDA graphs, "
        f"which makes sampling several times as slow (the metric eager): {EAGER_CURE}"
    )
