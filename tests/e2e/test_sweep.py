"""`creditree sweep` as a user types it: killed, interrupted, continued, and what it concludes."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.command import SMALL, STOPPED, creditree, creditree_json, start
from tests.runs_alike import content

RUNS = [("group=4", 0), ("group=6", 0), ("group=4", 1), ("group=6", 1)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    log = {"checkpoint_every": 2, "rollouts_every": 2}
    base = SMALL | {"evaluation": {"problems": 10, "temperatures": [0]}, "log": log}
    path.write_text(yaml.safe_dump({"base": base, "grid": {"method.group": [4, 6]}, "seeds": [0, 1]}))
    return path


@pytest.fixture(scope="module")
def whole(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = creditree("sweep", sweep, "--out", out)
    for words in ("run 4 of 4: group=6, seed 1", "mean ± standard deviation over seeds", "Seed by seed", "Saved"):
        assert words in done.stdout
    assert ("better than" in done.stdout) or ("worse than" in done.stdout) or ("not distinguishable" in done.stdout)
    return out


def runs_of(out: Path) -> dict[tuple[str, int], Any]:
    """What must not depend on interruptions, of every run."""
    return {(case, seed): content(out / case / f"seed-{seed}") for case, seed in RUNS}


def test_the_record_has_runs_cases_and_pairs(whole: Path) -> None:
    found = json.loads((whole / "sweep.json").read_text())
    assert [(run["case"], run["seed"], run["state"]) for run in found["runs"]] == [(*one, "done") for one in RUNS]
    assert found["runs"][0]["keys"] == {"method.group": 4}
    means = {case["case"]: case["after"]["mean"] for case in found["cases"]}
    for case, mean in means.items():
        own = [run["after"]["accuracy"] for run in found["runs"] if run["case"] == case]
        assert len(own) == 2
        assert mean == pytest.approx(sum(own) / 2)
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"], pair["n"]) == ("group=4", "group=6", 10)
    assert pair["value"] == pytest.approx(means["group=6"] - means["group=4"])
    assert "conclusion" in pair
    assert "| group=4 | 2 |" in (whole / "sweep.md").read_text()


@STOPPED
def test_stopped_in_the_second_run_and_repeated_equals_uninterrupted(
    how: signal.Signals, code: int, sweep: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start("sweep", sweep, "--out", out)
    metrics = out / "group=6" / "seed-0" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        time.sleep(0.005)
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code
    assert how is signal.SIGKILL or "repeat the command to continue" in said
    done = out / "group=4" / "seed-0" / "summary.json"
    before = done.stat().st_mtime_ns
    listed = creditree_json("sweep", sweep, "--out", out, "--dry-run")
    assert [run["state"] for run in listed["runs"]] == ["done", "started", "new", "new"]
    resumed = creditree("sweep", sweep, "--out", out)
    assert "4 runs, 1 done already" in resumed.stdout
    assert done.stat().st_mtime_ns == before
    assert runs_of(out) == runs_of(whole)


def test_a_finished_sweep_is_only_told_again(sweep: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("adapter_model.safetensors")}
    found = creditree_json("sweep", sweep, "--out", whole)
    assert found == json.loads((whole / "sweep.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_sweep_in_the_same_directory_is_refused(sweep: Path, whole: Path) -> None:
    refused = creditree("sweep", sweep, "--out", whole, "--set", "train.learning_rate=0.001", code=2)
    assert "train.learning_rate is 0.004 in the run and 0.001 now" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_run_that_fails_does_not_stop_the_others(sweep: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(sweep.read_text())
    cases = {"good": {"train.steps": 2}, "bad": {"task": {"name": "file", "path": str(tmp_path / "nowhere.jsonl")}}}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": values["base"], "cases": cases}))
    done = creditree("sweep", path, "--out", tmp_path / "out", "--json", code=2)
    assert "1 of 2 runs failed; the first: bad, seed 0: The problem file" in done.stderr
    found = json.loads(done.stdout)
    assert {run["case"]: run["state"] for run in found["runs"]} == {"good": "done", "bad": "failed"}
    assert [case["case"] for case in found["cases"]] == ["good"]
