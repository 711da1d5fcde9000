"""Full fine-tuning through the command line: a run, killed and resumed to the bit, measured as a run and as a model."""

import signal
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from creditree.runs.directory import RunDirectory
from tests.e2e.command import creditree, creditree_json, start, write_config
from tests.runs_alike import OF_THE_PROCESS

TRAIN = {
    "weights": "all", "steps": 6, "problems_per_step": 4, "mini_batch": 12, "learning_rate": 1e-4, "weight_decay": 0.01,
    "threads": 1,
}  # fmt: skip
METHOD = {"name": "grpo", "group": 6, "objective": "clipped", "loss_mean": "tokens", "kl": 0.001}
LOG = {"checkpoint_every": 2, "rollouts_every": 0}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    return write_config(path, train=TRAIN, method=METHOD, log=LOG, validation={"every": 3, "problems": 10})


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    done = creditree("train", config, "--run", run)
    assert "parameters trained" in done.stdout
    assert f"model in {run / 'model'}" in " ".join(done.stdout.split())
    return run


def weights(run: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load_file(run / "model" / "model.safetensors").items()}


def test_killed_and_resumed_equals_uninterrupted(config: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", config, "--run", run)
    metrics = run / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    creditree("train", config, "--run", run, "--resume")
    assert weights(run) == weights(whole)
    records = [
        [{k: v for k, v in record.items() if k not in OF_THE_PROCESS} for record in RunDirectory.read(path).metrics()]
        for path in (run, whole)
    ]
    assert records[0] == records[1]
    assert records[0][-1]["updates"] > 6  # type: ignore[operator]


def test_a_run_and_the_model_that_it_saved_measure_the_same(whole: Path) -> None:
    options = ("--problems", "20", "--temperature", "0")
    of_run = creditree_json("eval", whole, *options)
    of_model = creditree_json(
        "eval", whole / "model", *options, "--task", "multiplication", "--max-new-tokens", "48",
        "--set", "task.digits_a=3", "--set", "task.digits_b=1",
    )  # fmt: skip
    assert of_run["pass@1"] == of_model["pass@1"]
    assert "base" in of_run
    assert "base" not in of_model


def test_what_does_not_go_together_is_refused(config: Path, tmp_path: Path) -> None:
    for setting, words in {
        "lora.rank=4": "lora has no effect while train.weights is 'all'",
        "model.dtype=bfloat16": "set model.dtype: float32",
        "train.memory=4MB": "more than the limit of 4.0 MB",
    }.items():
        done = creditree("train", config, "--run", tmp_path / "run", "--set", setting, code=2)
        assert words in " ".join(done.stderr.split())
    refused = creditree("plan", config, "--set", "model.dtype=bfloat16", code=2).stderr
    assert "would lose most updates to rounding; set model.dtype: float32" in " ".join(refused.split())
    assert "lora:" not in creditree("train", config, "--dry-run").stdout
