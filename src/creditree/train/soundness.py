"""When a run cannot go on: steps in a row that teach nothing, because something is not finite or nobody judges."""

import torch

from creditree.train.settings import Parts, Settings
from creditree.train.step import Skip, StepResult

MOST_NAMED = 5
"""Problems of a step that are named."""
FAINT_EPS = 1e-12
"""An eps of AdamW below this lets an update divide by next to nothing."""


def was_skipped(result: StepResult) -> bool:
    """Return whether a step had something to learn and made no update of it."""
    return bool(result.skips) and not result.stats.updated


def is_proven(result: StepResult) -> bool:
    """Return whether a step has shown that the weights before it give a finite loss and gradient."""
    stats = result.stats
    return stats.updated or (stats.skipped is not None and stats.is_sound)


def is_unjudged(result: StepResult) -> bool:
    """Return whether a step sampled completions of which none got a reward."""
    return 0 < result.cost.completions == result.cost.failed_verdicts


def skip_words(skip: Skip) -> str:
    """Return why an update was left out, and of which problems."""
    named = ", ".join(f"'{problem}'" for problem in skip.problem_ids[:MOST_NAMED])
    more = len(skip.problem_ids) - MOST_NAMED
    problems = f"problems {named}{f' and {more} more' if more > 0 else ''}" if named else "no problem"
    return f"{skip.reason.rstrip('.')} ({problems})"


def divergence(step: int, count: int, last: Skip) -> str:
    """Return what has ended a run after `count` steps in a row without an update, the last of them `step`."""
    steps = f"step {step} was skipped" if count == 1 else f"{count} steps in a row were skipped, up to step {step}"
    return f"{steps}: {skip_words(last)}"


def cures(parts: Parts, settings: Settings, last: Skip | None) -> str:
    """Return what to change where numbers are not finite: only what is not so already."""
    if last is not None and last.cure is not None:
        return last.cure
    if last is not None and "train.skip_grad_norm" in last.reason:
        return "a higher train.skip_grad_norm, if gradients of this size are meant, or a lower train.learning_rate"
    if last is not None and "train.max_mismatch" in last.reason:
        return (
            "another engine or model.dtype, since this one computes another model than the one that learns, or a "
            "higher train.max_mismatch"
        )
    if last is not None and "method.objective" in last.reason:
        return "a method.objective whose loss is finite for all log-probabilities, advantages and old ones that are"
    advice = [f"a train.learning_rate below {settings.learning_rate:g}"]
    if parts.learner.spec.eps < FAINT_EPS:
        advice.append(f"a train.eps of 1e-8 in place of {parts.learner.spec.eps:g}")
    if parts.model.network.dtype is not torch.float32:
        advice.append("model.dtype float32")
    return " or ".join([", ".join(advice[:-1]), advice[-1]] if len(advice) > 1 else advice)
