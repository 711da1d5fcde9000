"""Diagnoses of the updates: a loss of zero that is right, numbers that are not finite, gradients, clips, mismatch."""

from collections.abc import Sequence
from statistics import median

from creditree.doctor.case import Case, Record, mean_of, quarters
from creditree.doctor.diagnosis import Diagnosis

ZERO_LOSS = 1e-4
"""A loss below this is shown as zero by most trainers' logs."""
OFTEN = 0.05
"""Share of the updates that are left out, from which on it is no accident."""
EXPLODED = 30.0
"""Times the norm of the first quarter of a run."""
CLIPPED = 0.5
DISAGREES, ROUNDS = 0.05, 0.01
"""Mean nats a token: above the first nothing that rounds explains it; above the second it is coarse rounding."""
LEAST_STEPS = 4


def zero_loss(case: Case) -> Diagnosis | None:
    """Is the loss zero, and all is well?"""
    updates = updating(case.steps)
    if len(updates) < 2:
        return None
    loss = median(abs(float(record.get("loss") or 0.0)) for record in updates)
    norm = median(float(record["grad_norm"]) for record in updates)
    if loss >= ZERO_LOSS or loss >= norm:
        return None
    return Diagnosis(
        "zero_loss",
        "note",
        f"The loss is about zero ({loss:.1e}), and that is right: the policy that learns is the one that sampled, so "
        "each ratio is 1, and the advantages of a group sum to zero. The value of the loss is their sum; its gradient "
        f"is not zero (norm {norm:.2g}), and that is what learns.",
        {"median_loss": loss, "median_grad_norm": norm, "updates": len(updates)},
        "Nothing: watch reward_mean and mixed_share in metrics.jsonl, not the loss.",
    )


def not_finite(case: Case) -> Diagnosis | None:
    """Were updates left out because something was not finite, or the gradient was too large?"""
    counts, config = case.counts, case.config
    if counts.skipped == 0 or config is None:
        return None
    share = counts.skipped / (counts.updates + counts.skipped)
    lower = float(f"{config.train.learning_rate / 3:.2g}")
    return Diagnosis(
        "not_finite",
        "problem" if share > OFTEN else "note",
        f"{counts.skipped:,} of {counts.updates + counts.skipped:,} updates were left out, because numbers were not "
        "finite or the gradient was larger than train.skip_grad_norm.",
        {"skipped": counts.skipped, "updates": counts.updates, "share": share, "dtype": config.model.dtype},
        "Lower the learning rate; if that does not help, set model.dtype float32.",
        settings={"train.learning_rate": lower},
    )


def gradient_norm(case: Case) -> Diagnosis | None:
    """Does the norm of the gradient explode?"""
    ends = quarters(updating(case.steps), LEAST_STEPS)
    if ends is None or case.config is None:
        return None
    early, late = (median(float(record["grad_norm"]) for record in part) for part in ends)
    if late < EXPLODED * early or late <= case.config.train.max_grad_norm:
        return None
    rate = case.config.train.learning_rate
    return Diagnosis(
        "gradient_norm",
        "problem",
        f"The norm of the gradient has grown from {early:.2g} to {late:.2g} (medians of the first and last quarter of "
        "the updates): steps are too large, and the policy runs away from what it could do.",
        {"early": early, "late": late, "learning_rate": rate, "max_grad_norm": case.config.train.max_grad_norm},
        "Lower the learning rate, or hold the policy near the base model with a penalty (method.kl).",
        settings={"train.learning_rate": float(f"{rate / 3:.2g}")},
    )


def clipped(case: Case) -> Diagnosis | None:
    """Does the objective's clip keep most terms from learning?"""
    share = mean_of(updating(case.steps), "clip_fraction")
    if share is None or share < CLIPPED or case.config is None:
        return None
    return Diagnosis(
        "clipped",
        "note",
        f"{share:.0%} of the loss terms are beyond the clip of the objective and learn nothing: the policy that learns "
        "has moved far from the one that sampled.",
        {"clip_fraction": share, "mini_batch": case.config.train.mini_batch},
        "Make fewer updates of one sample (train.mini_batch larger, or left out), or lower the learning rate.",
        settings={} if case.config.train.mini_batch is None else {"train.mini_batch": 2 * case.config.train.mini_batch},
    )


def mismatch(case: Case) -> Diagnosis | None:
    """Do sampler and learner disagree on the probabilities of the same tokens?"""
    mean, config = mean_of(case.steps, "sampler_mismatch_mean"), case.config
    if mean is None or mean <= ROUNDS or config is None:
        return None
    largest = max(float(record.get("sampler_mismatch_max") or 0.0) for record in case.steps)
    grave = mean > DISAGREES
    cause = "too much for rounding" if grave else f"which is what {config.model.dtype} rounds"
    settings = {"model.dtype": "float32"} if config.model.dtype != "float32" else {}
    return Diagnosis(
        "mismatch",
        "problem" if grave else "note",
        f"Sampler and learner give the same tokens log-probabilities that differ by {mean:.3f} nats in the mean "
        f"({largest:.2f} at most), {cause}: what is learned is of another policy than the one that sampled.",
        {"mean": mean, "max": largest, "dtype": config.model.dtype, "engine": config.engine.name},
        "Let both compute alike: the same precision, the in-process engine, on a server the same model and adapter; or "
        "correct it by importance weights (method.sampler_correction).",
        settings=settings or {"method.sampler_correction": "token"},
    )


def updating(steps: Sequence[Record]) -> list[Record]:
    """Return the records of steps that made an update."""
    return [record for record in steps if float(record.get("grad_norm") or 0.0) > 0]
