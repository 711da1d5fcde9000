"""Diagnoses of completions that earn nothing because nobody can read them, or because who judges fails."""

import json

from creditree.doctor.case import Case, ledger_of, quarters
from creditree.doctor.diagnosis import Diagnosis, quoted
from creditree.evaluate.accuracy import MOST_UNJUDGED
from creditree.evaluate.legible import LEAST, MOSTLY, Counts, Kind, cure_values, cure_words, what_is_wrong
from creditree.pilot.suspicion import Suspicion, example_rows, suspicion
from creditree.problem import Problem
from creditree.runs.attempts import Attempt

MANY = 0.5
"""Share of completions that are cut off, or without an answer, from which on half of what is sampled is lost."""


def truncated(case: Case) -> Diagnosis | None:
    """Are completions cut off before they end?"""
    counts = seen_counts(case)
    if counts.completions < LEAST or counts.truncated < MANY * counts.completions:
        return None
    return _unread("truncated", counts, case)


def unparsable(case: Case) -> Diagnosis | None:
    """Does the grader find no answer in completions that have ended?"""
    counts = seen_counts(case)
    if counts.completions < LEAST or counts.unparsable < MANY * counts.completions or counts.trouble() == "truncated":
        return None
    return _unread("unparsable", counts, case)


def grader(case: Case) -> Diagnosis | None:
    """Do completions say the reference answer, and are never right?"""
    suspect = suspected(case)
    if suspect is None:
        return None
    row = json.loads(example_rows(*_problems_and_attempts(case)).partition("\n")[0])
    return Diagnosis(
        "grader",
        "problem",
        suspect.sentence("creditree show " + case.curable.grader if case.curable else "creditree show GRADER"),
        {
            "completions": suspect.completions,
            "right": suspect.right,
            "hold_reference": suspect.holding.own,
            "hold_another": suspect.holding.other,
        },
        "Name a grader that reads these answers with reward, or write the references as the model gives them; "
        "creditree grade tries one on a file of answers.",
        f"{quoted(row['prediction'])}, where {quoted(' or '.join(row['answers']))} is expected",
    )


def unjudged(case: Case) -> Diagnosis | None:
    """Does who judges fail, or run out of time?"""
    counts = case.counts
    failed = max(counts.failed_verdicts, counts.timeouts + counts.crashes)
    if counts.completions == 0 or failed == 0:
        return None
    share = failed / counts.completions
    seen = [c.attempt for c in case.completions if c.attempt.reward is None or c.attempt.status in ("timeout", "crash")]
    first = seen[0] if seen else None
    slow = counts.timeouts >= failed / 2
    return Diagnosis(
        "unjudged",
        "problem" if share > MOST_UNJUDGED else "note",
        f"{failed:,} of {counts.completions:,} completions were not judged as they should be ({counts.timeouts:,} ran "
        f"out of time, {counts.crashes:,} failed, {counts.failed_verdicts:,} got no reward): nothing is learned from "
        "those without a reward.",
        {
            "completions": counts.completions,
            "without_reward": counts.failed_verdicts,
            "timeouts": counts.timeouts,
            "crashes": counts.crashes,
            "share": share,
        },
        "Give the judge more time, and see that it ends on any text."
        if slow
        else "Mend the reward function: it must return a number for any text, the empty one too.",
        "" if first is None else f"{(first.detail or first.status).rstrip('.')}, on {quoted(first.text)}",
        _longer(case) if slow else {},
    )


def seen_counts(case: Case) -> Counts:
    """Return how many completions there were, and the unreadable ones: of the last quarter of a longer run."""
    ends = quarters(case.steps, least=8)
    if ends is None:
        counts = case.counts
        return Counts(counts.completions, counts.truncated, counts.unparsable)
    late = ends[1]
    begun, ended = ledger_of(case.steps[-len(late) - 1]), ledger_of(late[-1])
    return Counts(
        ended.completions - begun.completions,
        ended.truncated - begun.truncated,
        ended.unparsable - begun.unparsable,
    )


def suspected(case: Case) -> Suspicion | None:
    """Return what speaks against the grader."""
    if not case.completions:
        return None
    return suspicion(*_problems_and_attempts(case))


def is_unread(case: Case) -> bool:
    """Return whether completions earn nothing because nobody can read them: no other cause is looked for then."""
    return seen_counts(case).trouble() is not None or suspected(case) is not None


def _problems_and_attempts(case: Case) -> tuple[list[Problem], list[Attempt]]:
    problems = {completion.problem.id: completion.problem for completion in case.completions}
    return list(problems.values()), [completion.attempt for completion in case.completions]


def _unread(kind: Kind, counts: Counts, case: Case) -> Diagnosis | None:
    settings = case.curable
    if settings is None:
        return None
    texts = case.texts_where(truncated=True) if kind == "truncated" else case.texts_where("unparsable")
    example = texts[-1] if texts else ""
    number = counts.truncated if kind == "truncated" else counts.unparsable
    what = what_is_wrong(kind, counts, settings)
    return Diagnosis(
        kind,
        "problem" if number >= MOSTLY * counts.completions else "note",
        f"{what[0].upper()}{what[1:]}: they earn nothing by what they say.",
        {"completions": counts.completions, kind: number, "max_new_tokens": settings.max_new_tokens}
        | ({} if kind == "truncated" else {"grader": settings.grader}),
        cure_words(kind, settings, example),
        quoted(example) if example else "",
        cure_values(kind, settings, example),
    )


def _longer(case: Case) -> dict[str, float]:
    deadline = None if case.config is None else case.config.reward.deadline
    return {} if deadline is None else {"reward.deadline": 4 * deadline}
