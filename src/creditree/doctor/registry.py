"""All diagnoses, in the order in which they are told: causes before what follows from them."""

from collections.abc import Callable

from creditree.doctor import machine, policy, problems, prompts, rewards, unfinished, unread, updates
from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis

Examine = Callable[[Case], Diagnosis | None]
"""Returns what is wrong; None where nothing is, or where the evidence says nothing of it."""

DIAGNOSES: tuple[tuple[str, Examine], ...] = (
    ("versions", machine.versions),
    ("gpu", machine.gpu),
    ("native", machine.native),
    ("disk", machine.disk),
    ("memory", machine.memory),
    ("leak", problems.leak),
    ("small_test", problems.small_test),
    ("chat_template", prompts.chat_template),
    ("prompt_tokens", prompts.prompt_tokens),
    ("learning_rate", policy.learning_rate),
    ("truncated", unread.truncated),
    ("unparsable", unread.unparsable),
    ("grader", unread.grader),
    ("unjudged", unread.unjudged),
    ("duplicates", rewards.duplicates),
    ("too_easy", rewards.too_easy),
    ("too_hard", rewards.too_hard),
    ("same_reward", rewards.same_reward),
    ("not_finite", updates.not_finite),
    ("gradient_norm", updates.gradient_norm),
    ("collapse", policy.collapse),
    ("mismatch", updates.mismatch),
    ("clipped", updates.clipped),
    ("unmoved", policy.unmoved),
    ("worse", policy.worse),
    ("zero_loss", updates.zero_loss),
    ("unfinished", unfinished.unfinished),
)
"""By id, as docs/doctor.md has a section for each."""


def examined(case: Case) -> tuple[Diagnosis, ...]:
    """Return every diagnosis that holds: problems first, each in the order of the list."""
    made = [diagnosis for _, examine in DIAGNOSES if (diagnosis := examine(case)) is not None]
    return tuple(sorted(made, key=lambda diagnosis: diagnosis.severity != "problem"))
