"""Why sampled completions got no reward: the reasons that differ in more than rows, problems and numbers."""

import re
from collections.abc import Mapping, Sequence

from creditree.evaluate.accuracy import MOST_UNJUDGED
from creditree.ledger import Ledger
from creditree.text import one_line
from creditree.tree import Forest

MOST_REASONS = 100
"""Different reasons that are counted; the completions of others are in the ledger alone."""
LONGEST_REASON = 300
Reasons = Mapping[str, tuple[str, int]]
"""By kind: what was said of the first completion, and of how many."""
_NUMBER = re.compile(r"[0-9]++")


def reasons_in(explored: Sequence[Forest]) -> dict[str, tuple[str, int]]:
    """Return why the completions of a step got no reward, in their order."""
    reasons: dict[str, tuple[str, int]] = {}
    for forest in explored:
        for tree in forest:
            lost = (branch.verdict for branch in tree.branches if branch.verdict is not None and branch.reward is None)
            for verdict in lost:
                kind = _NUMBER.sub("#", verdict.detail.replace(tree.problem.id, "#"))
                first, count = reasons.get(kind, (verdict.detail, 0))
                reasons[kind] = first, count + 1
    return reasons


def with_more(reasons: Reasons, more: Reasons) -> dict[str, tuple[str, int]]:
    """Return the reasons of some steps and of one more; new ones only while they are few."""
    added = dict(reasons)
    for kind, (detail, count) in more.items():
        if kind in added or len(added) < MOST_REASONS:
            first, before = added.get(kind, (detail, 0))
            added[kind] = first, before + count
    return added


def unrewarded_words(counts: Ledger, reasons: Reasons) -> str | None:
    """Return how many completions of training had no reward, and why most of them; None for fewer than 5 %."""
    if not counts.failed_verdicts or counts.failed_verdicts < MOST_UNJUDGED * counts.completions:
        return None
    words = (
        f"{counts.failed_verdicts:,} of {counts.completions:,} sampled completions had no reward "
        f"({counts.failed_verdicts / counts.completions:.1%}): they were left out of training"
    )
    if not reasons:
        return f"{words}."
    first, _ = max(reasons.values(), key=lambda reason: reason[1])
    return f"{words}; most often: {one_line(first, LONGEST_REASON).rstrip('.')}."
