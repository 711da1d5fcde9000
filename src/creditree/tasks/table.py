"""A task from a table: each row a problem, in named columns."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from creditree.errors import ConfigError, DataError, did_you_mean
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks.cells import LONGEST_QUESTION, answers_in, is_missing
from creditree.tasks.rows import Row, read_rows
from creditree.tasks.split import Slice, Split, order_of, slice_of
from creditree.tasks.task import PromptTemplate, nth_of_passes
from creditree.text import shortened, shown

LONGEST_ID = 1000
_NOISE = re.compile(r"-?(?=[\d.]{17,}$)\d+\.\d*(?:0{6}|9{6})\d+")
SLICES: tuple[Slice, ...] = ("training", "validation", "test")
SPLIT_NAMES: dict[str, Slice] = {
    "train": "training",
    "training": "training",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
Conflicts = Literal["error", "drop"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a row hold what.

    `answer` may hold one answer or a list of accepted ones; None means ``answer``, or else ``answers``. `split`, `id`
    and `solution` are used where rows have them. `keys`: the settings that name them, for sentences; `{}` is one's key.
    """

    question: str = "question"
    answer: str | None = None
    split: str = "split"
    id: str = "id"
    solution: str = "solution"
    keys: str = ""


@dataclass(frozen=True)
class Table:
    """Problems in three fixed slices, read with `load_table` or `svamp`.

    `notes` says in a sentence each what was left out; `shares`: of the training rows that were held out by a hash.
    Raises ConfigError for a prompt that asks for unknown columns.
    """

    name: str
    slices: Mapping[Slice, tuple[Problem, ...]]
    prompt: PromptTemplate = PromptTemplate()
    notes: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    split_column: str = "split"

    def __post_init__(self) -> None:
        for problem in (problem for slice_ in SLICES for problem in self.slices[slice_]):
            self.prompt.check(tuple(problem.columns))

    @property
    def num_training(self) -> int | None:
        """Return the number of training problems."""
        return len(self.slices["training"])

    def training(self, key: Key, index: int) -> Problem:
        """Return the index-th training problem under `key`: every pass has each problem once, in a fresh order."""
        problems = self.slices["training"]
        if not problems:
            raise DataError(f"The set {self.name} has no training problems: name a file that has them with path.")
        return nth_of_passes(problems, key, index)

    def held_out(self, split: Split, limit: int | None = None) -> tuple[Problem, ...]:
        """Return the problems of a split in a fixed order that does not depend on the order of the file."""
        problems = self.slices[split]
        share = self.shares.get(split, 0.0)
        hashed = ("training", *(name for name, own in self.shares.items() if own > 0))
        count = sum(len(own) for name, own in self.slices.items() if name in hashed)
        if not problems and share > 0 and count:
            raise DataError(
                f"The set {self.name} has no {split} problems: a hash of the question picks a share of {share:g} of "
                f"the rows, and of {count} it picked none; raise task.{split}, or mark rows '{split}' in the column "
                f"'{self.split_column}'."
            )
        if not problems:
            raise DataError(
                f"The set {self.name} has no {split} problems: give {split} a share of the rows (task.{split}), "
                f"a file of its own, or rows marked '{split}' in the column '{self.split_column}'."
            )
        return problems if limit is None else problems[:limit]


def load_table(
    path: str | Path | None = None,
    *,
    validation_path: str | Path | None = None,
    test_path: str | Path | None = None,
    columns: Columns = Columns(),
    validation: float = 0.1,
    test: float = 0.1,
    conflicts: Conflicts = "error",
    prompt: PromptTemplate = PromptTemplate(),
) -> Table:
    """Read a task from JSONL, JSON, CSV or parquet, or from the hub (`creditree.tasks.rows.read_rows`).

    `path` holds the training rows. A held-out split is, in this order: its own file; the rows that the split column
    marks; the share (`validation`, `test`) of the training rows that a hash of the question picks.
    Raises ConfigError without any file or for impossible shares, and DataError for a table that cannot be used.
    """
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test <= 1):
        raise ConfigError(
            f"The shares validation={validation} and test={test} must each be from 0 to 1 and sum to at most 1."
        )
    given: dict[Slice, str | Path | None] = {"training": path, "validation": validation_path, "test": test_path}
    files: dict[Slice, str | Path] = {slice_: file for slice_, file in given.items() if file is not None}
    if not files:
        raise ConfigError("A table needs at least one file: name it with path, validation_path or test_path.")
    single = len(files) == 1
    placed = [
        (marked(row, columns) or "training" if slice_ == "training" else slice_, row if single else _under(slice_, row))
        for slice_, file in files.items()
        for row in read_rows(file)
    ]
    shares = {"validation": validation, "test": test}
    name = Path(str(next(iter(files.values()))).partition("#")[0]).stem
    return table_of(name, placed, columns=columns, shares=shares, conflicts=conflicts, prompt=prompt)


def table_of(
    name: str,
    placed: Iterable[tuple[Slice, Row]],
    *,
    columns: Columns = Columns(),
    shares: Mapping[str, float] = MappingProxyType({}),
    conflicts: Conflicts = "error",
    prompt: PromptTemplate = PromptTemplate(),
) -> Table:
    """Return the table of rows whose slice is known; a held-out slice without rows gets its share of training ones."""
    read = [(slice_, row, problem_of(row, columns)) for slice_, row in placed]
    named = {slice_ for slice_, _, _ in read}
    kept, notes = _without_repeats(read, conflicts)
    shared = {split: 0.0 if split in named else shares.get(split, 0.0) for split in ("validation", "test")}
    slices: dict[Slice, list[Problem]] = {slice_: [] for slice_ in SLICES}
    for slice_, problem in kept:
        drawn = slice_of(problem.question, **shared) if slice_ == "training" else slice_
        slices[drawn].append(problem)
    for split in SLICES[1:]:
        slices[split].sort(key=lambda problem: order_of(problem.question))
    fixed = MappingProxyType({key: tuple(value) for key, value in slices.items()})
    return Table(name, fixed, prompt, notes, MappingProxyType(shared), columns.split)


def with_validation(table: Table, size: int) -> Table:
    """Return `table` with `size` training problems, picked by a hash of the question, as its validation split."""
    ranked = sorted(table.slices["training"], key=lambda problem: order_of(problem.question))
    taken = {problem.id for problem in ranked[:size]}
    training = tuple(problem for problem in table.slices["training"] if problem.id not in taken)
    slices: dict[Slice, tuple[Problem, ...]] = {
        **table.slices,
        "training": training,
        "validation": tuple(ranked[:size]),
    }
    return replace(table, slices=MappingProxyType(slices))


def _under(slice_: Slice, row: Row) -> Row:
    return replace(row, label=f"{slice_}-{row.label}")


def marked(row: Row, columns: Columns) -> Slice | None:
    """Return the slice that the row's split column names, or None without that column; DataError for another word."""
    if columns.split not in row.values:
        return None
    mark = row.values[columns.split]
    slice_ = SPLIT_NAMES.get(str(mark).strip().lower())
    if slice_ is None:
        raise DataError(
            f"{_start(row.place)} has {shown(mark)} in column '{columns.split}', which names no split: "
            f"use one of {', '.join(SPLIT_NAMES)}."
        )
    return slice_


def problem_of(row: Row, columns: Columns = Columns()) -> Problem:
    """Return the problem that a row holds. Raises DataError, which names its place, for a row without one."""
    question = _value(row, columns.question, "question", columns)
    if not isinstance(question, str) or is_missing(question):
        raise DataError(
            f"{_start(row.place)} has no question in column '{columns.question}' (it holds {shown(question)}): "
            "fill it or drop the row."
        )
    if len(question) > LONGEST_QUESTION:
        raise DataError(
            f"{_start(row.place)} has a question of {len(question):,} characters, and at most {LONGEST_QUESTION:,} are "
            "read: shorten it or drop the row."
        )
    answer = columns.answer or ("answers" if "answer" not in row.values and "answers" in row.values else "answer")
    try:
        answers = answers_in(_value(row, answer, "answer", columns))
    except ValueError as error:
        content = shown(row.values[answer])
        raise DataError(
            f"{_start(row.place)} has no answer in column '{answer}': it holds {content}, {error}."
        ) from None
    solution = row.values.get(columns.solution)
    is_text = isinstance(solution, str | int | float) and not isinstance(solution, bool)
    worked = str(solution) if is_text and not is_missing(solution) else None
    return Problem(_id(row, columns.id), question, answers, MappingProxyType(dict(row.values)), worked)


def _id(row: Row, column: str) -> str:
    identifier = row.values.get(column)
    if identifier is None or is_missing(identifier):
        return row.label
    text = str(identifier)
    if len(text) > LONGEST_ID:
        raise DataError(
            f"{_start(row.place)} has an id of {len(text):,} characters in column '{column}', and an id has at most "
            f"{LONGEST_ID:,}: shorten it, or name another column."
        )
    return text


def _value(row: Row, column: str, meaning: str, columns: Columns) -> object:
    setting = f" with {columns.keys.format(meaning)}" if columns.keys else ""
    if column not in row.values:
        raise DataError(
            f"{_start(row.place)} has no column '{column}' for the {meaning}: name the column that holds "
            f"it{setting}.{did_you_mean(column, row.values)}"
        )
    return row.values[column]


def _without_repeats(
    read: Sequence[tuple[Slice, Row, Problem]], conflicts: Conflicts
) -> tuple[list[tuple[Slice, Problem]], tuple[str, ...]]:
    """Keep each question once, in a held-out slice if it is in one; a question with two answers is an error."""
    first: dict[str, tuple[Row, Problem]] = {}
    ids: dict[str, Row] = {}
    contradicted: set[str] = set()
    kept: list[tuple[Slice, Problem]] = []
    for slice_, row, problem in sorted(read, key=lambda item: item[0] == "training"):
        before = first.setdefault(problem.question, (row, problem))
        if before[1] is not problem:
            if set(before[1].answers) != set(problem.answers):
                _refuse_conflict(before, (row, problem), conflicts)
                contradicted.add(problem.question)
            continue
        if problem.id in ids:
            raise DataError(
                f"{_start(row.place)} has the id '{shortened(problem.id)}' of {ids[problem.id].place}: "
                "ids must be different."
            )
        ids[problem.id] = row
        kept.append((slice_, problem))
    remaining = [(slice_, problem) for slice_, problem in kept if problem.question not in contradicted]
    notes = []
    if len(read) > len(kept):
        notes.append(f"Rows left out because they repeat a question: {len(read) - len(kept)}.")
    noisy = [answer for _, problem in remaining for answer in problem.answers if _NOISE.fullmatch(answer)]
    if noisy:
        notes.append(
            f"Answers that look like a number with rounding noise: {len(noisy)}, the first {shown(noisy[0])}; round "
            "them, or set reward.tolerance with the grader numeric."
        )
    if contradicted:
        notes.append(f"Questions left out because their rows have different answers: {len(contradicted)}.")
    if not remaining:
        raise DataError("The set has no problem left once questions with conflicting answers are dropped.")
    return remaining, tuple(notes)


def _refuse_conflict(one: tuple[Row, Problem], other: tuple[Row, Problem], conflicts: Conflicts) -> None:
    if conflicts == "error":
        raise DataError(
            f"{_start(one[0].place)} and {other[0].place} ask the same question with different answers "
            f"({shortened(' or '.join(one[1].answers))}; {shortened(' or '.join(other[1].answers))}): correct one, "
            "or set conflicts to 'drop' to leave such questions out."
        )


def _start(place: str) -> str:
    return place[0].upper() + place[1:]
