"""What the problems look like as a set: lengths of prompts, how answers are distributed, and how groups are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from creditree.pilot.findings import Finding, first_places
from creditree.pilot.problems import PlacedProblem, Splits, normal
from creditree.tasks.split import Slice
from creditree.tasks.table import SLICES

FEW_CLASSES = 20
"""Up to this many different answers are looked at as classes."""
LARGE_SHARE = 0.3
LONG = 4
"""A longest prompt of so many times the median decides the memory of all."""


DEFAULT_TOKENS, LEAST_TOKENS = 512, 32
"""Longest completion where the user does not say and the context is large; and room that a prompt must leave."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the prompts: the median, the 95th percentile and the longest."""

    median: int
    high: int
    longest: int


def room_for_completions(lengths: Sequence[int], context: int) -> int:
    """Return how long completions may be: 512 tokens, or what the prompts leave of a small context.

    A prompt of more than twice the length of 95 % of them does not count: it is left out where it has no room.
    """
    usual = 2 * int(np.quantile(lengths, 0.95, method="inverted_cdf"))
    longest = max(length for length in lengths if length <= usual)
    return min(DEFAULT_TOKENS, max(LEAST_TOKENS, context - longest))


def check_lengths(
    placed: Sequence[PlacedProblem], lengths: Mapping[str, int], room: int
) -> tuple[list[PlacedProblem], Lengths, list[Finding]]:
    """Return the problems whose prompt has at most `room` tokens, their lengths, and what to say of the others."""
    kept = [entry for entry in placed if lengths[entry.problem.id] <= room]
    long = [entry.place for entry in placed if lengths[entry.problem.id] > room]
    findings = []
    if long:
        text = f"problems left out because their prompt leaves no room in the model's context: {len(long)}"
        text += "" if kept else "; lower `max_new_tokens`, shorten the prompts, or take another model"
        findings.append(Finding("long_prompts", "caution" if kept else "blocker", text, first_places(long)))
    counts = np.array([lengths[entry.problem.id] for entry in kept] or [0])
    shape = Lengths(int(np.median(counts)), int(np.quantile(counts, 0.95, method="inverted_cdf")), int(counts.max()))
    text = f"prompts have {shape.median} tokens in the median, 95 % at most {shape.high}, the longest {shape.longest}"
    findings.append(Finding("prompt_lengths", "note", text))
    if shape.longest > LONG * max(shape.median, 1):
        text = f"the longest prompt is over {LONG} times as long as most, and the memory that it needs is set aside"
        findings.append(Finding("uneven_prompts", "note", text))
    return kept, shape, findings


def constant_accuracy(splits: Splits) -> tuple[str, float]:
    """Return the most common answer of the training problems, and the accuracy on the test of always giving it."""
    common = Counter(normal(problem.answers[0]) for problem in splits.problems("training")).most_common(1)[0][0]
    test = splits.problems("test")
    return common, sum(common in map(normal, problem.answers) for problem in test) / len(test)


def check_answers(splits: Splits) -> list[Finding]:
    """Return what to say of the distribution of the answers."""
    counts = Counter(normal(problem.answers[0]) for slice_ in SLICES for problem in splits.problems(slice_))
    total = sum(counts.values())
    findings = []
    if len(counts) == 1:
        return [
            Finding(
                "one_answer",
                "blocker",
                f"all problems have the answer '{next(iter(counts))}', so there is nothing to learn; add others",
            )
        ]
    if len(counts) <= FEW_CLASSES:
        shares = ", ".join(f"{name} {count / total:.0%}" for name, count in counts.most_common())
        findings.append(Finding("classes", "note", f"{len(counts)} different answers: {shares}"))
    answer, accuracy = constant_accuracy(splits)
    if accuracy > 0:
        severe = accuracy > LARGE_SHARE
        text = f"always answering '{answer}' would be right on {accuracy:.0%} of the test problems"
        findings.append(Finding("constant_answer", "caution" if severe else "note", text))
    return findings


def check_groups(splits: Splits, column: str) -> list[Finding]:
    """Return what to say of the groups that a column makes: those missing from training or from the test."""
    of = {
        slice_: Counter(str(problem.columns.get(column, "")) for problem in splits.problems(slice_))
        for slice_ in SLICES
    }
    total = sum(of.values(), Counter[str]())
    shares = ", ".join(f"{name} {count / total.total():.0%}" for name, count in total.most_common(FEW_CLASSES))
    findings = [Finding("groups", "note", f"{column}: {shares}")]
    needed: tuple[tuple[Slice, str], ...] = (("training", "to train on"), ("test", "in the test"))
    for slice_, what in needed:
        missing = [name for name in total if name not in of[slice_]]
        if missing:
            text = f"{column}: {', '.join(sorted(missing)[:FEW_CLASSES])} has no problem {what}"
            findings.append(Finding("missing_groups", "caution", text))
    return findings
