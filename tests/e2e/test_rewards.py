"""Several rewards through every door: a run with functions that crash, hang and flood, resumed, measured, compared."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import creditree as ct
from creditree.errors import RunError
from creditree.report.watcher import Watcher
from tests.e2e.command import write_config

MINE = """
import asyncio, os, time

async def short(completions, **columns):
    await asyncio.sleep(0)
    return [-len(one) / 100 for one in completions]

CALLS = []

def hostile(completions, **columns):
    CALLS.append(1)
    print(300 * ("x" * 500 + "\\n"))
    if os.fork() == 0:
        time.sleep(60)
    if len(CALLS) == 3:
        os.abort()
    return [0.5 for one in completions]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a configuration, the functions that it names, and a run of it."""
    place = tmp_path_factory.mktemp("rewards")
    (place / "mine.py").write_text(MINE)
    write_config(
        place / "run.yaml",
        reward=[
            "last_integer",
            {"name": "format", "weight": 0.2, "pattern": r"[\d\s=+*-]*"},
            {"name": "overlong", "weight": 0.5},
            {"name": "mine.py:short", "weight": 0.1},
            {"name": "mine.py:hostile", "weight": 0.0},
        ],
        method={"name": "grpo", "group": 3},
        sampling={"temperature": 0.7, "max_new_tokens": 16},
        train={"steps": 3, "problems_per_step": 1, "threads": 1},
        evaluation={"problems": 3, "temperatures": [0]},
        log={"rollouts_every": 1},
    )
    ct.train(place / "run.yaml", place / "run", watcher=Watcher())
    return place


NAMES = ["last_integer", "format", "overlong", "short", "hostile"]


def test_metrics_and_rollouts_have_each_reward(made: Path) -> None:
    records: list[dict[str, Any]] = list(ct.Run(made / "run").metrics())
    assert [list(record["rewards"]) for record in records] == [NAMES] * 3
    # 0 of the three calls before it crashed: the first measures the base, the third is the second step
    assert [record["rewards"]["hostile"]["failed"] for record in records] == [0.0, 1.0, 0.0]
    assert [record["failed_verdicts"] for record in records] == [0, 3, 3]
    rows = [row for file in sorted((made / "run" / "rollouts").glob("*")) for row in pq.read_table(file).to_pylist()]
    judged = [row for row in rows if row["reward"] is not None]
    for row in judged:
        right, form, overlong, short, _ = row["singles"]
        assert row["reward"] == pytest.approx(right + 0.2 * form + 0.5 * overlong + 0.1 * short)
        assert short == -len(row["text"]) / 100
    assert judged


def test_the_summary_has_their_means_and_accuracy_is_the_tasks(made: Path) -> None:
    summary = json.loads((made / "run" / "summary.json").read_text())
    singles = summary["single_rewards"]["greedy"]
    assert list(singles) == NAMES
    assert singles["last_integer"]["after"]["mean"] == pytest.approx(summary["after"]["accuracy"])
    assert singles["hostile"]["before"] == {"mean": 0.5, "failed": 0.0}
    assert summary["grading"]["grader"] == "last_integer + 0.2 format + 0.5 overlong + 0.1 short + 0 hostile"
    assert "overlong" in (made / "run" / "report.md").read_text()


def test_it_is_measured_planned_and_compared_as_any_other(made: Path) -> None:
    found = ct.evaluate(made / "run", problems=3, temperatures=(0.0,), base=False, trust=True, watcher=Watcher())
    singles = found.record["single_rewards"]["measured"]
    assert singles["last_integer"]["mean"] == pytest.approx(found.accuracy)
    other = [{"name": "numeric"}, {"name": "format", "weight": 2, "pattern": ".*"}]
    again = ct.evaluate(made / "run", problems=3, temperatures=(0.0,), base=False, reward=other, watcher=Watcher())
    assert again.record["single_rewards"]["measured"]["format"] == {"mean": 1.0, "failed": 0.0}
    assert again.accuracy == found.accuracy
    assert ct.plan(made / "run.yaml", prompt_tokens=10).to_json()
    assert ct.compare(made / "run", made / "run").to_json()


def test_a_changed_function_is_not_resumed_with(made: Path) -> None:
    ct.train(made / "run.yaml", made / "run", resume=True, watcher=Watcher())
    (made / "mine.py").write_text(MINE.replace("100", "99"))
    with pytest.raises(RunError, match=r"reward function's file of run .* changed since it was started"):
        ct.train(made / "run.yaml", made / "run", resume=True, watcher=Watcher())


@pytest.mark.thorough
def test_a_pilot_is_judged_by_several(tmp_path: Path) -> None:
    rows = [f"{a}*{b}=,{a * b}" for a in range(200, 300) for b in (3, 7)]
    (tmp_path / "t.csv").write_text("\n".join(["question,answer", *rows]) + "\n")
    several = ["last_integer", {"name": "overlong", "weight": 0.2}]
    found = ct.pilot(
        tmp_path / "t.csv",
        "builtin:multiplication",
        tmp_path / "pilot",
        budget="15s",
        reward=several,
        max_new_tokens=48,
        watcher=Watcher(),
    ).to_json()
    assert found["data"]["grader"] == "last_integer + 0.2 overlong"
    assert ct.Run(tmp_path / "pilot" / "run").config.reward.names == ("last_integer", "overlong")
