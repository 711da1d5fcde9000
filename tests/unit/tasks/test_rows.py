"""Rows as verl and `datasets` save them: read without a map of columns."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditree.errors import DataError
from creditree.tasks.rows import read_rows, verl_row
from creditree.tasks.table import load_table


def verl(number: int, *before: dict[str, str]) -> dict[str, Any]:
    return {
        "data_source": "openai/gsm8k",
        "prompt": [*before, {"role": "user", "content": f"What is {number} + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
        "extra_info": {"split": "train", "index": number},
    }


def test_a_parquet_file_of_verl_is_a_task(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([verl(number) for number in range(5)]), tmp_path / "train.parquet")
    table = load_table(tmp_path / "train.parquet", validation=0, test=0)
    problem = table.slices["training"][3]
    assert (problem.question, problem.answers) == ("What is 3 + 1?", ("4",))
    assert problem.columns["data_source"] == "openai/gsm8k"
    assert problem.columns["extra_info"] == {"split": "train", "index": 3}


def test_all_messages_are_in_the_question_and_own_columns_count_first() -> None:
    row = verl(1, {"role": "system", "content": "Be brief."})
    assert verl_row(row)["question"] == "Be brief.\n\nWhat is 1 + 1?"
    assert verl_row({**row, "answer": "two"})["answer"] == "two"
    plain = {"prompt": "What?", "answer": "x"}
    assert verl_row(plain) is plain
    assert verl_row({"prompt": [1], "reward_model": {"ground_truth": "1"}}).keys() == {"prompt", "reward_model"}


def test_folders_that_datasets_saved_are_tasks(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = [{"question": f"{number} + 1", "answer": number + 1} for number in range(6)]
    one = datasets.Dataset.from_list(rows[:4])
    one.save_to_disk(str(tmp_path / "one"))
    assert len(load_table(tmp_path / "one", validation=0, test=0).slices["training"]) == 4
    datasets.DatasetDict(train=one, test=datasets.Dataset.from_list(rows[4:])).save_to_disk(str(tmp_path / "both"))
    table = load_table(tmp_path / "both", validation=0)
    assert [len(table.slices[split]) for split in ("training", "test")] == [4, 2]
    assert [row.values["answer"] for row in read_rows(f"{tmp_path / 'both'}#test")] == [5, 6]
    with pytest.raises(DataError, match=r"has no split 'tst'. Did you mean 'test'"):
        read_rows(f"{tmp_path / 'both'}#tst")
    with pytest.raises(DataError, match="is no data set that `datasets` saved"):
        read_rows(tmp_path)
