"""Files as they come: every format gives the same problems, and what is no table is said to be none."""

import csv
import datetime
import gzip
import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditree.errors import ConfigError, DataError
from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks import files, parquet
from creditree.tasks.cells import MISSING, answers_in, is_missing
from creditree.tasks.rows import read_rows
from creditree.tasks.table import Columns, load_table, problem_of
from creditree.tasks.task import PromptTemplate, nth_of_passes, order_of_pass

Records = list[dict[str, Any]]


def written(folder: Path, suffix: str, rows: Records) -> Path:
    """Write rows in one of the formats, as programs of that format do."""
    path = folder / f"set{suffix}"
    if suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def problems(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.question, one.answers) for one in map(problem_of, read_rows(path))]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        [problem_of(row, Columns()) for row in read_rows(path)]
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 900
    return str(refused.value)


FORMATS = (".csv", ".jsonl", ".json", ".parquet")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_table_gives_the_same_problems(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"question": 'Who said "no, never"?\nSay it.', "answer": "St. Paul,  or not"},
        {"question": "  naïve 答案 😀", "answer": "α\tβ"},
        {"question": "=1+1", "answer": "2"},
        {"question": "x" * 200_000, "answer": "y" * 50_000},
    ]
    assert problems(written(tmp_path, suffix, rows)) == [(row["question"], (row["answer"],)) for row in rows]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("word", ["", "  ", "NaN", "nan", "None", "null", "#N/A", "NA", "<NA>", "#DIV/0!"])
def test_a_word_for_nothing_is_no_answer_and_no_question_in_any_format(tmp_path: Path, suffix: str, word: str) -> None:
    good = {"question": "1+1=", "answer": "2"}
    said = refusal(written(tmp_path, suffix, [good, {"question": "2+2=", "answer": word}]))
    assert said.startswith(("Row 2 of", "Line 2 of", "Item 2 of"))
    assert "has no answer in column 'answer'" in said
    assert "fill it or drop the row" in said
    assert "has no question" in refusal(written(tmp_path, suffix, [good, {"question": word, "answer": "4"}]))


def test_what_is_missing() -> None:
    for value in (None, "", " \t", float("nan"), Decimal("NaN"), *MISSING, " NaN "):
        assert is_missing(value), value
    others: tuple[object, ...] = (0, "0", False, "Nan", "nano", "none of them", "N", float("inf"), [])
    for other in others:
        assert not is_missing(other), other


def test_answers_of_a_cell() -> None:
    assert answers_in("None of them") == ("None of them",)
    assert answers_in(["None", " 3 "]) == ("None", "3")  # in a list it is meant
    assert answers_in([1, 2.5]) == ("1", "2.5")
    for value, words in {
        "None": 'writes it in a list where it is meant, such as ["None"]',
        '="5"': "a formula of a spreadsheet",
        "=SUM(A1:A3)": "a formula of a spreadsheet",
        True: "a text or a number",
        float("inf"): "no number that an answer can be",
        "z" * 200_000: "200,000 characters",
    }.items():
        with pytest.raises(ValueError, match=re.escape(words)):
            answers_in(value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_word_for_nothing_that_is_meant_is_written_as_a_list_in_any_format(tmp_path: Path, suffix: str) -> None:
    rows = [{"question": "a", "answer": '["none"]'}, {"question": "b", "answer": ' [ "NA" , "mild" ] '}]
    assert [answers for _, answers in problems(written(tmp_path, suffix, rows))] == [("none",), ("NA", "mild")]


@pytest.mark.parametrize(
    "text", ["[1, 2]", "[1]", "[]", "[[1, 2], [3, 4]]", '["a", 1]', '["a"', '["a"] or b', "['a']", "[a, b]", '"a"']
)
def test_a_text_that_is_no_list_of_texts_is_one_answer(text: str) -> None:
    assert answers_in(text) == (text,)


def test_numbers_of_parquet_are_written_as_their_own_precision_has_them(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    exact = [Decimal("3.00"), Decimal("0.1")]
    table = pa.table(
        {
            "question": ["a", "b"],
            "answer": pa.array([0.3, 12.5], pa.float32()),
            "half": pa.array([0.1, 2.0], pa.float16()),
            "several": pa.array([[0.3], [0.7, 1.0]], pa.list_(pa.float32())),
            "double": [0.1 + 0.2, 1.0],
            "exact": pa.array(exact, pa.decimal128(5, 2)),
            "day": pa.array([datetime.date(2024, 5, 1)] * 2),
        }
    )
    pq.write_table(table, path)
    rows = read_rows(path)
    assert [problem_of(row).answers for row in rows] == [("0.3",), ("12.5",)]
    assert problem_of(rows[1], Columns(answer="several")).answers == ("0.7", "1.0")
    assert problem_of(rows[0], Columns(answer="exact")).answers == ("3.00",)
    assert rows[0].values["half"] == 0.1
    assert rows[0].values["double"] == 0.1 + 0.2  # its own precision is double
    assert rows[0].values["day"] == "2024-05-01"


def test_a_date_out_of_range_is_named_with_its_column(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    far = pa.array([10**18, None], pa.timestamp("us"))
    pq.write_table(pa.table({"question": ["a", "b"], "answer": ["1", "2"], "far": far}), path)
    assert "values in column 'far' that cannot be read as timestamp[us] (value out of range" in refusal(path)


def test_a_small_file_that_unfolds_to_gigabytes_is_refused_unread(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "set.parquet"
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["1+1="]))
    pq.write_table(pa.table({"question": same, "answer": same}), path)
    monkeypatch.setattr(files, "MOST_ROWS", 4000)
    assert "has 5,000 rows, and at most 4,000 are read" in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "MOST_UNFOLDED", 100)
    assert "unfolds to" in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "LONGEST_CELL", 3)
    assert "4 characters in a cell of column 'question'" in refusal(path)


def test_rows_of_text_are_counted_too(tmp_path: Path, monkeypatch: Any) -> None:
    path = written(tmp_path, ".csv", [{"question": f"{n}", "answer": "1"} for n in range(9)])
    monkeypatch.setattr(files, "MOST_ROWS", 8)
    assert "more than 8 rows" in refusal(path)


ROW = b'{"question": "a", "answer": "1"}\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", ROW + b'{"question": "\\ud83d", "answer": "1"}', ["Line 2", "half a character (\\ud83d)"]),
        ("a.jsonl", ROW + b'{"question": "b", "answer": "\\udc00"}', ["Line 2", "'answer'"]),
        ("a.jsonl", ROW + b'{"question": "b", "answer": "1", "id": "\\ud83d"}', ["Line 2", "'id'"]),
        ("a.jsonl", ROW + b'{"question": "b", "answer": "1", "x": [{"y": "\\ud83d"}]}', ["Line 2", "'x'"]),
        ("a.jsonl", ROW + b'{"question": "b", "answer": "1", "\\ud83d": 1}', ["Line 2", "half a character"]),
        ("a.json", b'[{"question": "b", "answer": "\\ud83d"}]', ["Item 1", "'answer'"]),
        ("a.jsonl", b'{"question": "a", "answer": "1", "answer": "2"}', ["Line 1", "the key 'answer' is there twice"]),
        ("a.csv", b"question,answer,answer\na,1,2\n", ["the column 'answer' twice"]),
        ("a.csv", b"question;answer\na;1\n", ["separated by semicolons", "save it with commas"]),
        ("a.csv", b"question\tanswer\na\t1\n", ["separated by tabs"]),
        ("a.csv", b"sep=,\nquestion,answer\na,1\n", ["'sep=,'", "remove it"]),
        ("a.csv", b'question,answer\na,"=""5"""\n', ["Row 1", "a formula of a spreadsheet"]),
        ("a.csv", b"<!DOCTYPE html><html>", ["a web page"]),
        ("a.csv", "question,answer\na,ü\n".encode("latin-1"), ["not UTF-8 text"]),
        ("a.csv", "question,answer\na,1\n".encode("utf-16"), ["UTF-16"]),
        ("a.csv", b"question,answer\na,\x001\n", ["Row 1", "NUL"]),
        ("a.jsonl", b'{"question": "a\\u0000", "answer": "1"}', ["Line 1", "NUL", "'question'"]),
        ("a.csv", b"question,answer\na,1\nb,2,3\n", ["Row 2", "more cells"]),
        ("a.csv", gzip.compress(b"question,answer\n", mtime=0), ["gzip", "unpack it"]),
        ("a.csv.gz", b"", ["'.gz'"]),
        ("a.csv", b"PK\x03\x04....", [".xlsx"]),
        ("a.jsonl", b"PAR1....", ["give it the suffix .parquet"]),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", ["git lfs pull"]),
        ("a.jsonl", b"[\n" + ROW + b"]", ["Line 1", "name a file that is one list .json"]),
        ("a.json", ROW + ROW, ["name it .jsonl"]),
        ("a.json", b"{}", ["not a list of objects"]),
        ("a.json", b"[1]", ["Item 1", "must be an object"]),
        ("a.jsonl", b'{"question": ' + b"[" * 5000, ["Line 1", "nested too deep"]),
        ("a.jsonl", b'{"question": "a", "answer": "1", "x": ' + b"[" * 100 + b"]" * 100 + b"}", ["50 levels deep"]),
        ("a.jsonl", b'{"question": "a", "answer": ' + b"9" * 5000 + b"}", ["Line 1", "not readable as JSON"]),
        ("a.jsonl", b'{"question": "a", "answer": 1e999}', ["Line 1", "no number that an answer can be"]),
        ("a.jsonl", b'{"question": "%s", "answer": "1"}' % (b" x" * 300_000), ["a question of 600,000 characters"]),
        ("a.jsonl", b'{"question": "a", "answer": "1", "id": "%s"}' % (b"x" * 5000), ["an id of 5,000 characters"]),
        ("a.parquet", b"PAR1" + b"\x00" * 100, ["not readable as parquet"]),
        ("a.parquet", b"", ["not readable as parquet"]),
        ("a", ROW, ["no suffix", "name it a.jsonl"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = refusal(path)
    for word in words:
        assert word in said


def test_columns_of_parquet_may_not_share_a_name(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["1"]), pa.array(["2"])], ["question", "answer", "answer"]),
        path,
    )
    assert "the column 'answer' twice" in refusal(path)


def test_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe.jsonl", tmp_path / "folder.jsonl"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, tmp_path / ("x" * 400 + ".jsonl")):
        assert str(path)[:100] in refusal(path)


def test_a_prompt_of_megabytes_never_reaches_a_tokenizer() -> None:
    problem = Problem("p", "a", ("1",), {"context": " " * 10**6})
    with pytest.raises(DataError, match=r"problem 'p' has 1,000,001 characters"):
        PromptTemplate("{context}{question}").render(problem)
    with pytest.raises(ConfigError):
        PromptTemplate("{nowhere}").render(problem)


def test_a_pass_is_put_in_order_once_however_often_it_is_asked() -> None:
    asked = [Problem(str(n), str(n), ("1",)) for n in range(50)]
    key = Key.of(77).at("one permutation")
    order_of_pass.cache_clear()
    first = [int(nth_of_passes(asked, key, index).id) for index in range(150)]
    assert order_of_pass.cache_info().misses == 3  # one for each of three passes, not one for each problem
    for number in range(3):
        plain = key.at("pass", number).generator().permutation(50)
        assert first[50 * number : 50 * number + 50] == [int(place) for place in plain]


def test_a_table_of_the_new_format(tmp_path: Path) -> None:
    path = written(tmp_path, ".json", [{"question": f"{n}+1=", "answer": n + 1} for n in range(40)])
    assert len(load_table(path, validation=0.2, test=0.2).slices["training"]) > 10


def test_answers_with_rounding_noise_are_noted(tmp_path: Path) -> None:
    answers = [0.1 * 3, 0.30000001192092896, 12.000000000000002, 0.3, 1 / 3, 2.5]
    path = written(tmp_path, ".jsonl", [{"question": f"{n}", "answer": answer} for n, answer in enumerate(answers)])
    (note,) = load_table(path, validation=0, test=0).notes
    assert "rounding noise: 3, the first '0.30000000000000004'" in note


def test_thousands_of_columns_are_compared_in_linear_time(tmp_path: Path) -> None:
    names = ["question", "answer", *(f"c{n}" for n in range(50_000))]
    path = tmp_path / "set.csv"
    path.write_text(f"{','.join(names)}\n{','.join(names)}\n")
    assert problems(path) == [("question", ("answer",))]
    path.write_text(f"{','.join([*names, 'c7'])}\n")
    assert "has the column 'c7' twice" in refusal(path)


def test_one_long_text_in_many_rows_is_held_once(tmp_path: Path) -> None:
    """20,000 rows of a text of three million characters would be 60 GB."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["0" * 3_000_000]))
    questions = [str(n) for n in range(20_000)]
    table = pa.table({"question": questions, "answer": ["1"] * 20_000, "other": column})
    pq.write_table(table, tmp_path / "set.parquet", compression="zstd", dictionary_pagesize_limit=1 << 30)
    rows = read_rows(tmp_path / "set.parquet")
    assert len(rows) == 20_000
    assert len({id(row.values["other"]) for row in rows}) < 100


def test_the_row_with_half_a_character_is_named_in_a_column_of_few_texts(tmp_path: Path) -> None:
    table = pa.table({"question": ["a", "b", "c"], "answer": ["1", "1", "1"], "other": ["x", "x", "\0"]})
    pq.write_table(table, tmp_path / "set.parquet")
    assert "Row 3 of" in refusal(tmp_path / "set.parquet")
