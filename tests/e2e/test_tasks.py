"""A mixture of a generated task and one from a function: trained on, resumed, measured, planned, compared."""

import json
from pathlib import Path
from typing import Any

import pytest

import creditree as ct
from creditree.errors import ConfigError, RunError
from creditree.report.watcher import Watcher
from tests.e2e.command import write_config

MINE = "def sums():\n    for a in range(10, 70):\n        yield f'{a}*1=', a\n"
NAMES = {"multiplication", "sums"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a configuration, the function that it names, and a run of it."""
    place = tmp_path_factory.mktemp("mixture")
    (place / "mine.py").write_text(MINE)
    tasks = [
        {"name": "multiplication", "weight": 2, "digits_a": 1, "num_held_out": 6},
        {"name": "mine.py:sums", "prompt": {"text": "{question}\n"}},
    ]
    write_config(
        place / "run.yaml",
        seed=1,
        task={"mixture": tasks},
        method={"name": "grpo", "group": 3},
        sampling={"temperature": 0.7, "max_new_tokens": 16},
        train={"steps": 2, "problems_per_step": 8, "threads": 1},
        evaluation={"problems": 6, "temperatures": [0]},
    )
    ct.train(place / "run.yaml", place / "run", watcher=Watcher())
    return place


def test_metrics_and_summary_have_each_task_and_the_whole(made: Path) -> None:
    run = ct.Run(made / "run")
    records: list[dict[str, Any]] = list(run.metrics())
    for record in records:
        assert set(record["by_task"]) == NAMES
        assert sum(one["problems"] for one in record["by_task"].values()) == record["problems"] == 8
    whole = sum(one["problems"] * one["reward_mean"] for one in records[-1]["by_task"].values()) / 8
    assert records[-1]["reward_mean"] == pytest.approx(whole)
    summary = json.loads((made / "run" / "summary.json").read_text())
    sides = {task: found["greedy"]["after"] for task, found in summary["by_task"].items()}
    assert {task: one["n"] for task, one in sides.items()} == {"multiplication": 4, "sums": 2}
    correct = sum(one["n"] * one["accuracy"] for one in sides.values())
    assert summary["after"]["accuracy"] == pytest.approx(correct / 6)
    assert run.summary.to_json()["by_task"] == summary["by_task"]
    assert "| greedy: sums |" in (made / "run" / "report.md").read_text()


def test_it_is_measured_planned_and_compared(made: Path) -> None:
    with pytest.raises(ConfigError, match="names code that would run on this machine: task is"):
        ct.evaluate(made / "run", problems=3, watcher=Watcher())
    found = ct.evaluate(made / "run", problems=6, temperatures=(0.0,), trust=True, watcher=Watcher())
    parts = found.record["by_task"]
    assert {task: one["n"] for task, one in parts.items()} == {"multiplication": 4, "sums": 2}
    assert found.accuracy == pytest.approx(sum(one["n"] * one["pass@1"]["value"] for one in parts.values()) / 6)
    assert set(parts["sums"]) == {"n", "pass@1", "base", "difference"}
    assert ct.plan(made / "run.yaml").to_json()
    assert ct.compare(made / "run", made / "run").to_json()


def test_the_function_alone_is_a_task_to_measure_on(made: Path) -> None:
    found = ct.evaluate(
        made / "run", f"{made / 'mine.py'}:sums", problems=2, temperatures=(0.0,), base=False, watcher=Watcher()
    )
    assert (found.record["task"], found.record["n"]) == ("sums", 2)
    assert found.record["data"]["source"] == f"{made / 'mine.py'}:sums"


def test_a_changed_function_or_other_problems_are_not_resumed_with(made: Path) -> None:
    ct.train(made / "run.yaml", made / "run", resume=True, watcher=Watcher())
    (made / "mine.py").write_text(MINE.replace("70", "71"))
    with pytest.raises(RunError, match=r"The training problems of run .* changed since it was started|The file of the"):
        ct.train(made / "run.yaml", made / "run", resume=True, watcher=Watcher())
    (made / "mine.py").write_text(MINE + "\n")
    with pytest.raises(RunError, match=r"The file of the piece .*mine.py:sums changed since run"):
        ct.train(made / "run.yaml", made / "run", resume=True, watcher=Watcher())
