"""Commands with workers on Ray: the driver killed and continued, measurements, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.command import ENVIRONMENT, write_config


def started(*arguments: str) -> subprocess.Popen[str]:
    """Start a command from nothing: what is forked cannot start Ray."""
    return subprocess.Popen(
        [sys.executable, "-m", "creditree", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(command: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = command.communicate(timeout=560)
    assert command.returncode == 0, err
    return out, err


def of_ray() -> set[int]:
    """Return the processes of Ray on this machine."""
    return {own.pid for own in psutil.process_iter(["cmdline"]) if "raylet" in " ".join(own.info["cmdline"] or ())}


@pytest.mark.slow
def test_a_killed_driver_is_continued_to_the_bit_and_workers_measure_what_one_process_does(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "c.yaml", evaluation={"problems": 8, "temperatures": [0]}))
    before = of_ray()
    driver = started(
        "train", config, "--run", str(tmp_path / "run"), "--workers", "2", "--set", "log.checkpoint_every=1"
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 500
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3) and time.monotonic() < until:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    while of_ray() - before and time.monotonic() < until:
        time.sleep(0.5)
    assert not of_ray() - before  # the workers of a dead driver end with it
    out, err = ended(
        started(
            "train", config, "--run", str(tmp_path / "run"), "--workers", "2", "--set", "log.checkpoint_every=1",
            "--resume", "--json",
        )
    )  # fmt: skip
    assert json.loads(out)  # and nothing else is printed there
    assert "raylet" not in err
    whole = tmp_path / "whole"
    ended(started("train", config, "--run", str(whole), "--workers", "2", "--set", "log.checkpoint_every=1"))
    ours, theirs = ((run / "adapter" / "adapter_model.safetensors").read_bytes() for run in (tmp_path / "run", whole))
    assert ours == theirs  # to the bit, whoever was fast
    rows = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (tmp_path / "run", whole)
    ]
    assert [row["reward_mean"] for row in rows[0]] == [row["reward_mean"] for row in rows[1]]
    measured = [
        json.loads(ended(started("eval", str(whole), "--problems", "24", "--temperature", "0.5", "--json", *more))[0])
        for more in ([], ["--workers", "2"])
    ]
    assert measured[0]["pass@1"] == measured[1]["pass@1"]


@pytest.mark.slow
def test_a_base_that_is_divided_among_workers_is_trained_and_measured(tmp_path: Path) -> None:
    measured = {"problems": 8, "temperatures": [0]}
    config = str(write_config(tmp_path / "c.yaml", model={"sharded": True}, evaluation=measured))
    refused = started("train", config, "--run", str(tmp_path / "none"))
    out, err = refused.communicate(timeout=300)
    assert (refused.returncode, out) == (2, "")
    assert "there are no --workers; set --workers to 2 or more" in " ".join(err.split())
    assert not (tmp_path / "none").exists()
    run = str(tmp_path / "run")
    out, err = ended(started("train", config, "--run", run, "--workers", "2", "--json"))
    assert json.loads(out)
    assert "with 1/2 of every layer of the base" in err
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    divided = json.loads(ended(started("eval", run, "--problems", "8", "--json", "--workers", "2"))[0])
    assert divided["pass@1"]


@pytest.mark.thorough
def test_too_few_processors_are_refused_at_once(tmp_path: Path) -> None:
    config, many = str(write_config(tmp_path / "c.yaml")), str(len(os.sched_getaffinity(0)) + 1)
    command = started("train", config, "--run", str(tmp_path / "run"), "--workers", many)
    out, err = command.communicate(timeout=300)
    assert (command.returncode, out) == (2, "")
    assert f"--workers is {many}, each of which needs 1 CPU, and there is room for" in " ".join(err.split())
