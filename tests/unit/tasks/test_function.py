"""A task from a Python function: what it may yield, and what is refused."""

from pathlib import Path

import pytest

from creditree.errors import ConfigError, DataError
from creditree.tasks import Table, function_task
from creditree.tasks.table import Columns


def made(tmp_path: Path, code: str, **options: object) -> Table:
    (tmp_path / "mine.py").write_text(code)
    return function_task(f"{tmp_path / 'mine.py'}:problems", **options)  # type: ignore[arg-type]


def all_of(table: Table) -> dict[str, tuple[str, ...]]:
    return {one.question: one.answers for part in table.slices.values() for one in part}


def test_pairs_become_problems_with_splits_by_a_hash_of_the_question(tmp_path: Path) -> None:
    code = "def problems():\n    for a in range(500):\n        yield f'{a}+1=', a + 1\n"
    table = made(tmp_path, code)
    assert all_of(table) == {f"{a}+1=": (str(a + 1),) for a in range(500)}
    assert table.name == "problems"
    assert 30 < len(table.slices["test"]) < 75
    assert {one.question for one in made(tmp_path, code, test=0.2).slices["test"]} > {
        one.question for one in table.slices["test"]
    }


def test_rows_have_columns_and_answers_may_be_several(tmp_path: Path) -> None:
    code = """
def problems():
    return [{"ask": "1+1", "result": [2, "two"], "level": 3, "split": "test"}, ("2+2", ("4", "four"))]
"""
    table = made(tmp_path, code, columns=Columns("ask", "result"))
    assert all_of(table) == {"1+1": ("2", "two"), "2+2": ("4", "four")}
    assert [(one.question, one.columns["level"]) for one in table.slices["test"]] == [("1+1", 3)]


def test_one_without_end_is_taken_from_as_far_as_is_asked(tmp_path: Path) -> None:
    code = "from itertools import count\ndef problems():\n    return ((f'{a}-0', a) for a in count())\n"
    assert len(all_of(made(tmp_path, code, most=20))) == 20


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("problems = 3", ConfigError, "is a int, not a function"),
        ("def problems(): return 'abc'", ConfigError, "it has to yield (question, answers)"),
        ("def problems(): return None", ConfigError, "returns None"),
        ("def problems(): return []", DataError, "yields no problem"),
        ("def problems(): yield 'abc'", DataError, "Problem 1 of task"),
        ("def problems():\n    yield '1', 1\n    yield 1, 1", DataError, "has no question in column 'question'"),
        ("def problems(): yield '1+1', ''", DataError, "has no answer in column 'answer'"),
        ("def problems():\n    yield '1', 1\n    1 / 0", DataError, "ZeroDivisionError: division by zero after 1 prob"),
        ("def problems(count): yield '1', 1", DataError, "missing 1 required positional argument: 'count' before its"),
        ("def problems():\n    yield '1', 1\n    yield '1', 2", DataError, "the same question with different answers"),
        ("def other(): yield '1', 1", ConfigError, "has no 'problems'"),
        ("1 / 0", ConfigError, "cannot be imported: it raises ZeroDivisionError"),
    ],
)
def test_what_is_refused(tmp_path: Path, code: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        made(tmp_path, code)
    assert words in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The task '.*none.py:f' cannot be found: there is no file"):
        function_task(f"{tmp_path / 'none.py'}:f")
