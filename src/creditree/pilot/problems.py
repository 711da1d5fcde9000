"""From the rows of a table to problems in three splits, with everything that was wrong with them said, not raised."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from
from types import MappingProxyType

from creditree.errors import DataError
from creditree.pilot.findings import Finding, Severity, first_places
from creditree.problem import Problem
from creditree.tasks.rows import Row
from creditree.tasks.split import Slice, order_of
from creditree.tasks.table import SLICES, Columns, marked, problem_of

LEAST_PROBLEMS = 40
"""With fewer usable problems neither training nor a test says anything."""
TEST_SHARE, MOST_TEST = 0.3, 400
VALIDATION_SHARE, MOST_VALIDATION = 0.15, 100
"""Shares of the problems held out, and at most so many: beyond that, training has more use for them."""
FEW_TEST = 100
_NUMBER = re.compile(r"\d[\d.,]*")
_EDGES = " \t.,;:!?\"'"
_HELD: Mapping[Slice | None, int] = {"test": 0, "validation": 1}


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """A problem with the place of its row, and the slice that the table names for it, or None."""

    problem: Problem
    place: str
    named: Slice | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Splits:
    """Problems by slice; no question is in two of them."""

    slices: Mapping[Slice, tuple[PlacedProblem, ...]]

    def problems(self, slice_: Slice) -> tuple[Problem, ...]:
        """Return the problems of a slice."""
        return tuple(entry.problem for entry in self.slices[slice_])

    @property
    def sizes(self) -> dict[Slice, int]:
        """Number of problems by slice."""
        return {slice_: len(self.slices[slice_]) for slice_ in SLICES}


def normal(question: str) -> str:
    """Return a question as it counts for repeats: compatibility characters, capitals, spaces and edges do not matter.

    NFKC, case folded, runs of white space as one space, punctuation at both ends left out, save the point of ``.5``.
    """
    text = " ".join(unicodedata.normalize("NFKC", question).casefold().split()).rstrip(_EDGES)
    bare = text.lstrip(_EDGES)
    return f".{bare}" if bare[:1].isdigit() and text.removesuffix(bare).endswith(".") else bare


def template(question: str) -> str:
    """Return the normal form with every number as ``#``: what questions share that differ in their numbers only."""
    return _NUMBER.sub("#", normal(question))


def read_problems(rows: Sequence[Row], columns: Columns) -> tuple[list[PlacedProblem], list[Finding]]:
    """Return the problems of all rows that hold one, and what is wrong with the others.

    Raises DataError where no row can be used: then the first one's message says why; and for a word in the column of
    splits that names none, since half a table can be lost by it.
    """
    placed: list[PlacedProblem] = []
    unusable: list[tuple[Row, DataError]] = []
    for row in rows:
        named = marked(row, columns)
        try:
            placed.append(PlacedProblem(problem_of(row, columns), row.place, named))
        except DataError as error:
            unusable.append((row, error))
    if not placed:
        raise unusable[0][1]
    if not unusable:
        return placed, []
    text = f"rows left out because they hold no problem: {len(unusable)} of {len(rows)}; the first: {unusable[0][1]}"
    return placed, [Finding("unusable_rows", "caution", text, first_places([row.place for row, _ in unusable]))]


def without_repeats(placed: Sequence[PlacedProblem]) -> tuple[list[PlacedProblem], list[Finding]]:
    """Return the problems with each question once, and what was left out.

    Questions are equal if their `normal` forms are. Where all rows of a question accept the same answers, the first
    stays, or one that is held out by name, the test before validation; where they do not, all of them go: nobody knows
    which is right.
    """
    groups: dict[str, list[PlacedProblem]] = {}
    for entry in placed:
        groups.setdefault(normal(entry.problem.question), []).append(entry)
    kept: list[PlacedProblem] = []
    repeats: list[str] = []
    conflicts: list[str] = []
    leaks: list[str] = []
    for group in groups.values():
        answers = {frozenset(map(normal, entry.problem.answers)) for entry in group}
        if len(answers) > 1:
            conflicts.append(" and ".join(entry.place for entry in group[:2]))
            continue
        kept.append(min(group, key=lambda entry: _HELD.get(entry.named, len(_HELD))))
        repeats += [entry.place for entry in group[1:]]
        if len({entry.named or "training" for entry in group}) > 1:
            leaks.append(" and ".join(entry.place for entry in group[:2]))
    return _with_own_ids(kept), [
        *_some(
            "conflicts", "caution", conflicts, "questions left out because their rows have different answers: {n}"
        ),
        *_some(
            "leaks", "caution", leaks, "questions in several splits of the table, now only held out: {n}"
        ),
        *_some("duplicates", "note", repeats, "rows left out because they repeat a question: {n}"),
    ]  # fmt: skip


def _some(kind: str, severity: Severity, places: Sequence[str], text: str) -> list[Finding]:
    if not places:
        return []
    return [Finding(kind, severity, text.format(n=len(places)), first_places(places))]


def _with_own_ids(placed: Sequence[PlacedProblem]) -> list[PlacedProblem]:
    """Return the problems with ids that are different: a second use of one gets a number that makes it new."""
    taken = {entry.problem.id for entry in placed}
    seen: set[str] = set()
    renamed = []
    for entry in placed:
        name = entry.problem.id
        if name in seen:
            name = next(new for count in count_from(2) if (new := f"{entry.problem.id}-{count}") not in taken)
        seen.add(name)
        taken.add(name)
        renamed.append(replace(entry, problem=replace(entry.problem, id=name)))
    return renamed


def split_problems(placed: Sequence[PlacedProblem]) -> tuple[Splits, list[Finding]]:
    """Return the problems in three slices, as the table names them, the rest by a hash of the question.

    Without names, 30 % are held out for the test (400 at most) and 15 % for validation (100 at most); where the table
    names one of the two, the other is taken from the training problems. Raises DataError for too few problems.
    """
    if len(placed) < LEAST_PROBLEMS:
        raise DataError(
            f"Only {len(placed)} problems can be used, and a pilot needs at least {LEAST_PROBLEMS} to train on some "
            "and to test on others: add problems (creditree eval measures a model on few)."
        )
    slices: dict[Slice, list[PlacedProblem]] = {
        slice_: [entry for entry in placed if entry.named == slice_] for slice_ in SLICES
    }
    free = [entry for entry in placed if entry.named is None]
    pool = sorted([*free, *slices["training"]], key=lambda entry: order_of(normal(entry.problem.question)))
    wanted: tuple[tuple[Slice, float, int], ...] = (
        ("test", TEST_SHARE, MOST_TEST),
        ("validation", VALIDATION_SHARE, MOST_VALIDATION),
    )
    for slice_, share, most in wanted:
        if not slices[slice_]:
            size = min(most, round(share * len(placed)))
            slices[slice_], pool = pool[:size], pool[size:]
    slices["training"] = pool
    if not pool:
        raise DataError("No problem is left to train on: the table names too many as test or validation.")
    splits = Splits(MappingProxyType({slice_: tuple(slices[slice_]) for slice_ in SLICES}))
    return splits, _split_findings(splits)


def _split_findings(splits: Splits) -> list[Finding]:
    sizes = splits.sizes
    text = f"{sizes['training']} problems to train on, {sizes['validation']} to choose by, {sizes['test']} for the test"
    findings = [Finding("split", "note", text)]
    if sizes["test"] < FEW_TEST:
        findings.append(
            Finding("small_test", "caution", f"only {sizes['test']} test problems: small gains stay unseen")
        )
    known = {template(problem.question) for problem in splits.problems("training")}
    alike = [entry.place for entry in splits.slices["test"] if template(entry.problem.question) in known]
    if alike:
        share = len(alike) / sizes["test"]
        text = (
            f"test problems that differ from a training problem in their numbers only: {share:.0%}; for them the test "
            "says how well the model does on other numbers, not on other kinds of problems"
        )
        findings.append(Finding("shared_templates", "caution" if share > 0.1 else "note", text, first_places(alike)))
    return findings
