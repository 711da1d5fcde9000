"""SVAMP from the hub and from a file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from datasets import Dataset

from creditree.errors import DataError
from creditree.tasks import svamp

BODY = "There are 7 trees and {number} birds in the park"


def hub_row(number: int) -> dict[str, str]:
    return {
        "ID": f"chal-{number}",
        "Body": BODY.format(number=number),
        "Question": "How many birds are there?",
        "Equation": f"( {number}.0 - 0.0 )",
        "Answer": f"{number}.0",
        "Type": "Subtraction",
    }


def hub(name: str, split: str) -> Iterable[Mapping[str, object]]:
    assert name == "ChilleD/SVAMP"
    numbers = {"train": range(10, 710), "test": range(710, 1010)}[split]
    rows: Iterable[Mapping[str, object]] = Dataset.from_list([hub_row(number) for number in numbers])
    return rows


def test_the_hubs_columns_and_split() -> None:
    task = svamp(load_dataset=hub)
    assert (task.name, task.num_training) == ("svamp", 600)
    assert (len(task.held_out("validation")), len(task.held_out("test"))) == (100, 300)
    problem = next(problem for problem in task.held_out("test") if problem.id == "chal-800")
    assert problem.question == "There are 7 trees and 800 birds in the park. How many birds are there?"
    assert problem.answers == ("800",)
    assert problem.columns["Equation"] == "( 800.0 - 0.0 )"
    assert task.prompt.render(problem).startswith(problem.question)


def test_a_body_that_ends_with_a_stop_gets_no_second_one(tmp_path: Path) -> None:
    file = tmp_path / "svamp.jsonl"
    rows = [{**hub_row(number), "Body": BODY.format(number=number) + ".", "split": "train"} for number in range(200)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert svamp(file).slices["training"][0].question.count(".") == 1


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do() -> None:
    def unreachable(name: str, split: str) -> Iterable[Mapping[str, object]]:
        raise ConnectionError("no\n network")

    with pytest.raises(DataError, match=r"ConnectionError: no network.*name a local file with path") as raised:
        svamp(load_dataset=unreachable)
    assert "\n" not in str(raised.value)


def test_the_loader_of_the_package_datasets_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", hub)
    assert svamp() == svamp(load_dataset=hub)


def test_a_file_with_part_of_the_rows_needs_a_split_column(tmp_path: Path) -> None:
    file = tmp_path / "svamp.jsonl"
    rows = [{"question": f"{number}?", "answers": [str(number)]} for number in range(150)]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="has 150 rows and no split column"):
        svamp(file)
    marked = [{**row, "split": "test" if index < 20 else "train"} for index, row in enumerate(rows)]
    file.write_text("\n".join(map(json.dumps, marked)))
    task = svamp(file)
    assert (task.num_training, len(task.held_out("validation")), len(task.held_out("test"))) == (30, 100, 20)


def test_the_published_rows_in_their_order(shared_data: Path) -> None:
    task = svamp(shared_data / "svamp.jsonl")
    assert (task.num_training, len(task.held_out("validation")), len(task.held_out("test"))) == (600, 100, 300)
    assert {problem.id for problem in task.held_out("test")} == {f"chal-{number}" for number in range(701, 1001)}
    assert next(p for p in task.slices["training"] + task.held_out("validation") if p.id == "chal-1").answers == ("51",)
