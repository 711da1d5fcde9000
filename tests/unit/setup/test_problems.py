"""Solutions and columns of training problems: refused where they lack, known by a digest where they are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from creditree.config.load import check_config
from creditree.config.schema import RunConfig
from creditree.errors import DataError
from creditree.rng import Key
from creditree.setup.build import build_task
from creditree.setup.dry_run import step_at_most
from creditree.setup.plan import plan
from creditree.setup.problems import check_problems, fitted_to, read_digest
from creditree.setup.resolve import resolve

ROWS: list[dict[str, Any]] = [
    {"question": f"{n}+1=", "answer": str(n + 1), "solution": f" {n + 1}", "difficulty": n} for n in range(6)
]


def _config(path: Path, rows: list[dict[str, Any]], method: dict[str, Any], **task: Any) -> RunConfig:
    file = path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {"task": {"name": "file", "path": str(file), "validation": 0, "test": 0, **task}, "method": method}
    return check_config(values, "x")


def _without(column: str) -> list[dict[str, Any]]:
    return [ROWS[0], {name: value for name, value in ROWS[1].items() if name != column}, *ROWS[2:]]


SOLUTIONS, CURRICULUM = {"name": "grpo", "explore": "solution_prefix"}, {"name": "grpo", "schedule": "curriculum"}


def test_what_is_there_is_read(tmp_path: Path) -> None:
    task = build_task(_config(tmp_path, ROWS, SOLUTIONS).task)
    assert sorted(task.training(_key(), index).solution or "" for index in range(6)) == [f" {n}" for n in range(1, 7)]
    renamed = [{"worked": row["solution"], **{k: v for k, v in row.items() if k != "solution"}} for row in ROWS]
    task = build_task(_config(tmp_path, renamed, SOLUTIONS, solution="worked").task)
    assert task.training(_key(), 0).solution is not None
    for method in (SOLUTIONS, CURRICULUM):
        check_problems(_config(tmp_path, ROWS, method))


@pytest.mark.parametrize("door", [check_problems, resolve, plan, step_at_most], ids=lambda door: door.__name__)
def test_a_missing_solution_is_refused_by_every_door(tmp_path: Path, door: Any) -> None:
    config = _config(tmp_path, _without("solution"), SOLUTIONS)
    with pytest.raises(
        DataError,
        match=r"method.explore 'solution_prefix' works on worked solutions, and training problem 'problems-2' of "
        "problems has none: give every row of its file one in the column `solution`",
    ):
        door(config)


def test_problems_that_are_generated_have_none() -> None:
    config = check_config({"task": "multiplication", "method": SOLUTIONS}, "x")
    with pytest.raises(DataError, match="of multiplication-3x1 has none"):
        check_problems(config)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    config = _config(tmp_path, _without("difficulty"), CURRICULUM)
    with pytest.raises(DataError, match="'curriculum' reads the column 'difficulty' of the problems"):
        check_problems(config)
    with pytest.raises(DataError, match="Did you mean 'difficulty'"):
        check_problems(_config(tmp_path, ROWS, CURRICULUM | {"column": "dificulty"}))


def test_the_schedule_is_fitted_to_the_problems(tmp_path: Path) -> None:
    config = _config(tmp_path, ROWS, CURRICULUM)
    method = fitted_to(config.method.build(), build_task(config.task))
    taken = [method.schedule.takes(problem, method.schedule.start(1))[0] for problem in _problems(config)]
    assert sum(taken) == 2  # of six the easier shares 0 and 1/6 are below 0.2


def test_what_is_read_has_a_digest(tmp_path: Path) -> None:
    def digest(method: dict[str, Any], rows: list[dict[str, Any]] = ROWS) -> str | None:
        config = _config(tmp_path, rows, method)
        return read_digest(config, config.method.build(), build_task(config.task))

    other = [ROWS[0] | {"solution": " one"}, *ROWS[1:]]
    assert digest({"name": "grpo"}) is None
    assert digest(SOLUTIONS) != digest(SOLUTIONS, other)
    assert digest(CURRICULUM) == digest(CURRICULUM, other)


def _key() -> Key:
    return Key.of(0)


def _problems(config: RunConfig) -> list[Any]:
    return [build_task(config.task).training(_key(), index) for index in range(len(ROWS))]
