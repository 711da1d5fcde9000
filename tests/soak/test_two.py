"""Two processes on one run: the second is refused while the first lives, and goes on where it was killed."""

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.command import creditree
from tests.runs_alike import content
from tests.soak.runs import config_of, struck, victim


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    config, run, whole = config_of("t-spmo", tmp_path), tmp_path / "run", tmp_path / "whole"
    assert struck(["train", config, "--run", whole], tmp_path / "at-whole")[0] == 0
    first = victim(["train", config, "--run", run], tmp_path / "at-first")
    while not (run / "metrics.jsonl").exists() and first.poll() is None:
        time.sleep(0.01)
    if first.poll() is None:
        first.send_signal(signal.SIGSTOP)
        refused = creditree("train", config, "--run", run, "--resume", code=2)
        assert "is being written by another process" in refused.stderr
        refused = creditree("train", config, "--run", run, code=2)
        assert len(refused.stderr.strip().splitlines()) == 1
        first.send_signal(signal.SIGKILL)
    first.communicate()
    assert struck(["train", config, "--run", run, "--resume"], tmp_path / "at")[0] == 0
    assert content(run) == content(whole)
