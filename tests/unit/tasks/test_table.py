"""Tables: the three formats, the three ways to split, and each table that cannot be used."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from creditree.errors import ConfigError, DataError
from creditree.rng import Key
from creditree.tasks import Columns, PromptTemplate, Table, load_table
from creditree.tasks.rows import Row
from creditree.tasks.split import Split
from creditree.tasks.table import problem_of

ROWS = [{"question": f"{number}+1?", "answer": str(number + 1), "level": str(number % 3)} for number in range(60)]


def jsonl(file: Path, rows: Sequence[Mapping[str, object]] = ROWS) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def as_csv(file: Path) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return file


def parquet(file: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file


def questions(table: Table, split: str) -> list[str]:
    return [problem.question for problem in table.slices[split]]  # type: ignore[index]


def test_the_three_formats_give_the_same_problems(tmp_path: Path) -> None:
    files = [jsonl(tmp_path / "set.jsonl"), as_csv(tmp_path / "set.csv"), parquet(tmp_path / "set.parquet")]
    first, *others = [load_table(file) for file in files]
    assert others == [first, first]
    assert first.name == "set"
    problem = first.slices["training"][0]
    assert dict(problem.columns) == ROWS[int(problem.id.removeprefix("set-")) - 1]


def test_shares_split_by_the_hash_of_the_question_and_nothing_is_lost(tmp_path: Path) -> None:
    table = load_table(jsonl(tmp_path / "set.jsonl"), validation=0.2, test=0.3)
    parts = [questions(table, split) for split in ("training", "validation", "test")]
    assert sorted(question for part in parts for question in part) == sorted(row["question"] for row in ROWS)
    assert all(len(part) > 3 for part in parts)
    reversed_rows = load_table(jsonl(tmp_path / "back.jsonl", ROWS[::-1]), validation=0.2, test=0.3)
    assert [questions(reversed_rows, split) for split in ("validation", "test")] == parts[1:]


def test_a_split_column_decides_and_a_split_that_it_does_not_name_is_a_share_of_training(tmp_path: Path) -> None:
    rows = [{**row, "split": "test" if index < 20 else "train"} for index, row in enumerate(ROWS)]
    table = load_table(jsonl(tmp_path / "set.jsonl", rows), validation=0.25)
    assert sorted(questions(table, "test")) == sorted(row["question"] for row in ROWS[:20])
    assert 3 < len(questions(table, "validation")) < 20
    assert len(questions(table, "validation")) + len(questions(table, "training")) == 40


def test_each_split_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    table = load_table(
        jsonl(tmp_path / "data.jsonl", ROWS[:30]),
        validation_path=jsonl(tmp_path / "v.jsonl", ROWS[30:40]),
        test_path=jsonl(tmp_path / "test" / "data.jsonl", ROWS[40:]),
    )
    assert [len(table.slices[split]) for split in ("training", "validation", "test")] == [30, 10, 20]


def test_a_file_for_testing_alone(tmp_path: Path) -> None:
    table = load_table(test_path=jsonl(tmp_path / "set.jsonl"))
    assert (table.num_training, len(table.held_out("test"))) == (0, 60)
    with pytest.raises(DataError, match="no training problems"):
        table.training(Key.of(0), 0)
    with pytest.raises(DataError, match="no validation problems: give validation a share"):
        table.held_out("validation")


def test_every_pass_has_each_problem_once_in_a_fresh_order(tmp_path: Path) -> None:
    table = load_table(jsonl(tmp_path / "set.jsonl"))
    num = table.num_training
    assert num is not None
    passes = [[table.training(Key.of(0), start + index).id for index in range(num)] for start in (0, num)]
    assert passes[0] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(problem.id for problem in table.slices["training"])
    assert [table.training(Key.of(1), index).id for index in range(num)] != passes[0]


def test_a_limit_takes_the_first_held_out_problems(tmp_path: Path) -> None:
    table = load_table(jsonl(tmp_path / "set.jsonl"), test=0.5)
    assert table.held_out("test", 4) == table.held_out("test")[:4]


def test_answers_may_be_texts_numbers_or_lists_and_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [
        {"q": f"{number}?", "gold": gold, "key": f"k{number}"} for number, gold in enumerate(["a ", 7, 2.5, ["b", 3]])
    ]
    table = load_table(
        jsonl(tmp_path / "set.jsonl", rows), columns=Columns("q", "gold", id="key"), validation=0, test=0
    )
    assert [problem.answers for problem in table.slices["training"]] == [("a",), ("7",), ("2.5",), ("b", "3")]
    assert [problem.id for problem in table.slices["training"]] == ["k0", "k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("cell", "solution"),
    [(" so 3", " so 3"), (3, "3"), (2.5, "2.5"), ("", None), ("NaN", None), (None, None), (True, None), (["3"], None)],
)
def test_a_solution_is_a_text_or_a_number(cell: object, solution: str | None) -> None:
    row = Row("a", "row 1", {"question": "1+2", "answer": "3", "solution": cell})
    assert problem_of(row).solution == solution
    assert problem_of(row, Columns(solution="worked")).solution is None


def test_the_plural_column_is_found_by_itself(tmp_path: Path) -> None:
    table = load_table(jsonl(tmp_path / "s.jsonl", [{"question": "?", "answers": ["1", "one"]}]), validation=0, test=0)
    assert table.slices["training"][0].answers == ("1", "one")


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode() + b"\n\n" + json.dumps(ROWS[1]).encode())
    assert load_table(file, validation=0, test=0).num_training == 2


def test_a_repeated_question_is_kept_once_and_never_trained_on_if_it_is_held_out(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "split": "train"}, {**ROWS[1], "split": "train"}, {**ROWS[0], "split": "test"}]
    table = load_table(jsonl(tmp_path / "set.jsonl", rows), validation=0)
    assert (questions(table, "training"), questions(table, "test")) == (["1+1?"], ["0+1?"])
    assert table.notes == ("Rows left out because they repeat a question: 1.",)


CONFLICT = [ROWS[0], ROWS[1], {"question": "0+1?", "answer": "2"}]


def test_one_question_with_two_answers_is_refused_with_both_places(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "set.jsonl", CONFLICT)
    with pytest.raises(DataError, match=r"Line 1 of .* and line 3 of .* different answers \(1; 2\)"):
        load_table(file)
    table = load_table(file, conflicts="drop", validation=0, test=0)
    assert questions(table, "training") == ["1+1?"]
    assert "Questions left out because their rows have different answers: 1." in table.notes


BAD_ROWS = {
    "no answer": ([ROWS[0], {"question": "?", "answer": None}], "Line 2 of .* has no answer in column 'answer'"),
    "empty answer": ([{"question": "?", "answer": " "}], "Line 1 of .* has no answer"),
    "empty list": ([{"question": "?", "answers": []}], "Line 1 of .* has no answer in column 'answers'"),
    "NaN": ([{"question": "?", "answer": float("nan")}], "Line 1 of .* has no answer"),
    "truth value": ([{"question": "?", "answer": True}], "Line 1 of .* has no answer"),
    "hole in a list": ([{"question": "?", "answer": ["1", None]}], "Line 1 of .* has no answer"),
    "no answer column": ([{"question": "?", "answr": "1"}], "no column 'answer' .*Did you mean 'answr'?"),
    "no question column": ([{"qestion": "?", "answer": "1"}], "no column 'question' .*Did you mean 'qestion'?"),
    "empty question": ([{"question": " ", "answer": "1"}], "Line 1 of .* has no question"),
    "number as question": ([{"question": 3, "answer": "1"}], "Line 1 of .* has no question"),
    "unknown split": ([{**ROWS[0], "split": "trian"}], "'trian' in column 'split', which names no split"),
    "one id twice": ([{**ROWS[0], "id": "x"}, {**ROWS[1], "id": "x"}], "Line 2 of .* has the id 'x' of line 1"),
    "conflicts only": ([CONFLICT[0], CONFLICT[2]], "no problem left"),
}


@pytest.mark.parametrize(("rows", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, rows: list[dict[str, object]], reason: str) -> None:
    file = jsonl(tmp_path / "set.jsonl", rows)
    with pytest.raises(DataError, match=reason) as raised:
        load_table(file, conflicts="drop" if reason == "no problem left" else "error")
    assert "\n" not in str(raised.value)


BAD_FILES = {
    "suffix": ("set.txt", b"", r"suffix '\.txt', which is not known"),
    "suffix misspelt": ("set.josnl", b"", r"Did you mean '\.jsonl'\?"),
    "empty": ("set.jsonl", b"", "has no rows"),
    "header only": ("set.csv", b"question,answer\n", "has no rows"),
    "not JSON": (
        "set.jsonl",
        b'{"question": "?", "answer": "1"}\n{"question": ',
        "Line 2 of .* is not readable as JSON",
    ),
    "not an object": ("set.jsonl", b"[1]\n", "Line 1 of .* is a JSON list"),
    "not UTF-8": ("set.jsonl", b'{"question": "\xff"}', "not UTF-8"),
    "not parquet": ("set.parquet", b"nothing", "not readable as parquet"),
    "few cells": ("set.csv", b"question,answer\n1,2\n3\n", "Row 2 of .* has fewer cells"),
    "many cells": ("set.csv", b"question,answer\n1,234,5\n", "Row 1 of .* has more cells"),
    "open quote": (
        "set.csv",
        b'question,answer\n\n"1\n1",2\n"3,4\n5,6\n7,8\n',
        "not readable as CSV in the row that begins in line 5 .*: a quote is not closed",
    ),
    "open quote of the header": ("set.csv", b'question,"answer\n1,2\n', "in the row that begins in line 1 "),
    "text after a quote": ("set.csv", b'question,answer\n1,2\n"3"4,5\n', "begins in line 3 .*: check the quotes"),
}


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason) as raised:
        load_table(tmp_path / name)
    assert name in str(raised.value)


def test_a_share_that_picked_no_row_says_so(tmp_path: Path) -> None:
    rows = [{"question": f"{number}?", "answer": number} for number in range(4)]
    table = load_table(jsonl(tmp_path / "four.jsonl", rows), columns=Columns(split="part"), test=0.01)
    with pytest.raises(DataError) as raised:
        table.held_out("test")
    assert str(raised.value) == (
        "The set four has no test problems: a hash of the question picks a share of 0.01 of the rows, and of 4 it "
        "picked none; raise task.test, or mark rows 'test' in the column 'part'."
    )
    unshared: list[tuple[Table, Split]] = [
        (load_table(tmp_path / "four.jsonl", test=0.0), "test"),
        (load_table(test_path=tmp_path / "four.jsonl"), "validation"),  # a share of no rows at all
    ]
    for others, split in unshared:
        with pytest.raises(DataError, match=rf"give {split} a share of the rows \(task\.{split}\), a file of its own"):
            others.held_out(split)


@pytest.mark.parametrize(("keys", "words"), [("task.{}", " with task.answer"), ("`{}`", " with `answer`"), ("", "")])
def test_a_column_that_is_missing_says_which_setting_names_it(tmp_path: Path, keys: str, words: str) -> None:
    file = jsonl(tmp_path / "set.jsonl", [{"question": "?", "answr": "1"}])
    with pytest.raises(
        DataError, match=rf"for the answer: name the column that holds it{words}\. Did you mean 'answr'"
    ):
        load_table(file, columns=Columns(keys=keys))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name, why in (("missing.jsonl", "does not exist or is not a file"), ("folder.csv", "is no data set that")):
        with pytest.raises(DataError, match=f"{name} {why}"):
            load_table(tmp_path / name)


def test_no_file_impossible_shares_and_an_unknown_field_in_the_prompt(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "set.jsonl")
    with pytest.raises(ConfigError, match="needs at least one file"):
        load_table()
    with pytest.raises(ConfigError, match="sum to at most 1"):
        load_table(file, validation=0.6, test=0.6)
    with pytest.raises(ConfigError, match=r"asks for \{levle\}.*Did you mean 'level'"):
        load_table(file, prompt=PromptTemplate("{levle}"))


def test_real_sets_with_an_empty_answer_and_with_contradictions(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "dapo_math_train.jsonl"
    with pytest.raises(DataError, match=r"Line 22740 of .* has no answer in column 'answers'"):
        load_table(file)
    head = tmp_path / "head.jsonl"
    head.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:17398]), encoding="utf-8")
    with pytest.raises(DataError, match=r"Line 2101 of .* and line 7235 of .* different answers \(30; 12\)"):
        load_table(head)
    table = load_table(head, conflicts="drop")
    assert sum(len(table.slices[split]) for split in table.slices) > 17_000
    assert len(table.notes) == 2
