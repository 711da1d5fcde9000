"""A run that was killed and continued is the run that was not: adapter, metrics (but times) and rollouts to the bit."""

import signal
import time
from pathlib import Path

import pytest

from creditree.runs.directory import RunDirectory
from tests.e2e.command import creditree, start, write_config
from tests.runs_alike import content

STEPS = 12
TRAIN = {"steps": STEPS, "problems_per_step": 2, "learning_rate": 4e-3, "final_learning_rate": 0.1, "threads": 1}
VALIDATION = {"every": 3, "problems": 10}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lora = {"rank": 4, "dropout": 0.1}
    return write_config(
        tmp_path_factory.mktemp("config") / "run.yaml",
        train=TRAIN,
        validation=VALIDATION,
        lora=lora,
        evaluation={"problems": 6, "temperatures": [0, 0.3]},
    )


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    creditree("train", config, "--run", run)
    return run


def stop_at(config: Path, run: Path, step: int, how: signal.Signals, *options: str) -> int:
    """Start or continue a run, send the signal once it has written the metrics of `step`, and return the exit code."""
    process = start("train", config, "--run", run, *options)
    metrics = run / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=120)
    return process.returncode


def test_killed_at_several_points_and_resumed_equals_uninterrupted(config: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stop_at(config, run, 0, signal.SIGKILL) == -signal.SIGKILL
    assert stop_at(config, run, 2, signal.SIGKILL, "--resume") == -signal.SIGKILL
    assert stop_at(config, run, 6, signal.SIGKILL, "--resume") == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    creditree("train", config, "--run", run, "--resume")
    assert content(run) == content(whole)
    assert len(content(run)["metrics"]) == STEPS


def test_ctrl_c_stops_after_the_step_with_a_checkpoint_and_resumes(config: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stop_at(config, run, 5, signal.SIGINT) == 130
    with RunDirectory.resume(run, (run / "config.yaml").read_text()) as directory:
        checkpoint, warnings = directory.restore()
    assert checkpoint is not None
    assert checkpoint.step >= 5
    assert warnings == []
    creditree("train", config, "--run", run, "--resume")
    assert content(run) == content(whole)


def test_a_truncated_checkpoint_falls_back_and_says_so(config: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop_at(config, run, 9, signal.SIGKILL)
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    arrays = newest / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:100])
    done = creditree("train", config, "--run", run, "--resume")
    assert "damaged" in done.stdout + done.stderr
    assert "step 4" in done.stdout + done.stderr
    assert content(run) == content(whole)


def test_resume_of_a_finished_run_changes_nothing(config: Path, whole: Path) -> None:
    before = content(whole)
    creditree("train", config, "--run", whole, "--resume")
    assert content(whole) == before


def test_resume_with_another_configuration_is_refused(config: Path, whole: Path) -> None:
    done = creditree("train", config, "--run", whole, "--resume", "--set", "method.group=7", code=2)
    assert "method.group" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


ATTNRL = {
    "model": "builtin:long_multiplication",
    "task": {"name": "multiplication", "digits_a": 8, "digits_b": 1, "num_held_out": 10},
    "method": {"name": "attnrl", "kl": 0.0, "min_gap": 6, "delta": 2, "batch_decay": 0.5, "off_policy": True},
    "sampling": {"temperature": 1.0, "max_new_tokens": 96},
    "lora": {"rank": 4},
    "train": TRAIN | {"steps": 6, "mini_batch": 20},
    "evaluation": {"problems": 2, "temperatures": [0]},
    "log": {"checkpoint_every": 2, "rollouts_every": 1},
}
"""One step off-policy: problems are in flight when a step ends, and the schedule has a state."""


@pytest.mark.thorough
def test_a_pipeline_killed_with_problems_in_flight_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    config = write_config(tmp_path / "attnrl.yaml", **ATTNRL)
    whole, run = tmp_path / "whole", tmp_path / "run"
    creditree("train", config, "--run", whole)
    assert stop_at(config, run, 3, signal.SIGKILL) == -signal.SIGKILL
    creditree("train", config, "--run", run, "--resume")
    found, expected = content(run), content(whole)
    assert found == expected
    assert len(found["metrics"]) == 6
    assert any(record["influence_tokens"] > 0 for record in found["metrics"])
