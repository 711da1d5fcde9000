"""Public benchmark sets: where they come from, how their rows are read, and the wording of their prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from creditree.errors import DataError, check_choice
from creditree.problem import Problem
from creditree.sources import SOURCES, BenchmarkName
from creditree.tasks.rows import LoadDataset, Row, hub_rows, read_rows
from creditree.tasks.split import Slice, order_of
from creditree.tasks.table import Columns, Table, marked, problem_of, table_of
from creditree.tasks.task import PromptTemplate
from creditree.tasks.wording import BOXED, INTEGER

MATH_TOKENS = 32_768
"""Longest completion in AttnRL's tables (arXiv 2509.26628)."""
SHORT_TOKENS = 1024
VALIDATION = 0.1

QUESTION_COLUMNS = ("question", "problem")
ANSWER_COLUMNS = ("answers", "answer", "final_answer")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set: its place on the hub, how many problems it has, and how it is asked by default; not who judges it.

    `training` is the hub's split of training problems, where there is one. `hub`, `split` and `subset` are names on
    the Hugging Face hub; a local file can always stand in for them.
    """

    hub: str
    split: str
    num_problems: int
    prompt: PromptTemplate = PromptTemplate(BOXED, chat="auto")
    max_new_tokens: int = MATH_TOKENS
    subset: str | None = None
    training: str | None = None


BENCHMARKS: Mapping[BenchmarkName, Benchmark] = MappingProxyType(
    {
        "gsm8k": Benchmark(
            SOURCES["gsm8k"].hub, "test", 1319, PromptTemplate(INTEGER, chat="auto"), SHORT_TOKENS,
            subset="main", training="train",
        ),
        "math500": Benchmark(SOURCES["math500"].hub, "test", 500),
        "aime24": Benchmark(SOURCES["aime24"].hub, "train", 30),
        "aime25": Benchmark(SOURCES["aime25"].hub, "test", 30),
        "amc23": Benchmark(SOURCES["amc23"].hub, "test", 40),
        "minerva": Benchmark(SOURCES["minerva"].hub, "test", 272),
        "olympiadbench": Benchmark(SOURCES["olympiadbench"].hub, "test", 674),
    }
)  # fmt: skip
"""Sizes as AttnRL (arXiv 2509.26628) counts them; the hub's own may differ by a problem, and is what is used."""


def benchmark(
    name: BenchmarkName,
    path: str | Path | None = None,
    prompt: PromptTemplate | None = None,
    load_dataset: LoadDataset | None = None,
) -> Table:
    """Return a benchmark as a task: every row of its test split, repeated questions included.

    Without `path` the rows come from the hub. A file at `path` (or ``hub:NAME#SPLIT``) holds test problems, unless its
    split column says otherwise. The question is in the column ``question`` or ``problem``, the answer in ``answers``,
    ``answer`` or ``final_answer``; of GSM8K's worked answers what follows ``####`` counts. Where there are training
    problems, a tenth of them, picked by a hash of the question, is the validation split, and none of them is a question
    of the test split. Raises ConfigError for an unknown name, DataError for rows that cannot be read.
    """
    check_choice("the benchmark", name, get_args(BenchmarkName))
    spec = BENCHMARKS[name]
    placed = _from_hub(spec, load_dataset) if path is None else _from_file(path, load_dataset)
    test = [problem_of(_normal(row)) for slice_, row in placed if slice_ == "test"]
    _check_ids(name, test)
    test_questions = {problem.question for problem in test}
    rest = [(slice_, _normal(row)) for slice_, row in placed if slice_ != "test"]
    slices, notes = _training(name, [(s, row) for s, row in rest if row.values["question"] not in test_questions])
    slices["test"] = tuple(sorted(test, key=lambda problem: order_of(problem.question)))
    return Table(name, MappingProxyType(slices), spec.prompt if prompt is None else prompt, notes)


def _from_hub(spec: Benchmark, load_dataset: LoadDataset | None) -> list[tuple[Slice, Row]]:
    rows: list[tuple[Slice, Row]] = []
    if spec.training is not None:
        rows += [("training", row) for row in hub_rows(spec.hub, spec.training, load_dataset, spec.subset)]
    return rows + [("test", row) for row in hub_rows(spec.hub, spec.split, load_dataset, spec.subset)]


def _from_file(path: str | Path, load_dataset: LoadDataset | None) -> list[tuple[Slice, Row]]:
    return [(marked(row, Columns()) or "test", row) for row in read_rows(path, load_dataset)]


def _training(name: str, placed: list[tuple[Slice, Row]]) -> tuple[dict[Slice, tuple[Problem, ...]], tuple[str, ...]]:
    if not placed:
        return {"training": (), "validation": ()}, ()
    table = table_of(name, placed, shares={"validation": VALIDATION}, conflicts="drop")
    return {slice_: table.slices[slice_] for slice_ in ("training", "validation")}, table.notes


def _normal(row: Row) -> Row:
    """Return the row with the columns `question` and `answers`, whichever of the known names they had."""
    question = _column(row, QUESTION_COLUMNS, "question")
    answer = _column(row, ANSWER_COLUMNS, "answer")
    given = row.values[answer]
    answers = [_bare(answer) for answer in given] if isinstance(given, list | tuple) else _bare(given)
    values = {name: value for name, value in row.values.items() if name not in ANSWER_COLUMNS}
    return replace(row, values=MappingProxyType(values | {"question": row.values[question], "answers": answers}))


def _column(row: Row, names: tuple[str, ...], meaning: str) -> str:
    for name in names:
        if name in row.values and row.values[name] is not None:
            return name
    raise DataError(f"{row.place[0].upper()}{row.place[1:]} has no {meaning}: name its column {' or '.join(names)}.")


def _bare(answer: object) -> object:
    """Return an answer without the working before ``####``, and without dollar signs around all of it."""
    if not isinstance(answer, str):
        return answer
    text = answer.rpartition("####")[2].strip()
    if len(text) > 2 and text[0] == text[-1] == "$" and "$" not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def _check_ids(name: str, problems: list[Problem]) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f"The set {name} has the id '{problem.id}' twice: ids must be different.")
        seen.add(problem.id)
