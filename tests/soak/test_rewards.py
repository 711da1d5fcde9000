"""A reward function that does all that it should not, one thing after the other: the run goes on, and counts it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from creditree.config.load import load_config
from creditree.report.watcher import Watcher
from creditree.setup.training import train_into
from tests.e2e.command import write_config
from tests.soak.conftest import Tally

JUDGE = """
import ctypes, os, sys, time
from pathlib import Path

def swarm():
    for _ in range(9):
        os.fork()
    time.sleep(600)

def deluge():
    for _ in range(1024):
        os.write(1, b"x" * (1 << 20))

MISDEEDS = {
    "hang": lambda: time.sleep(600),
    "exception": lambda: 1 / 0,
    "segfault": lambda: ctypes.string_at(0),
    "swarm": swarm,
    "exit": lambda: os._exit(0),
    "nan": lambda: None,
    "deluge": deluge,
}

def judge(completions, **columns):
    asked = Path(__file__).with_name("misdeed")
    misdeed = asked.read_text() if asked.exists() else ""
    if misdeed:
        MISDEEDS[misdeed]()
    return [float("nan") if misdeed == "nan" else float(len(text) % 2) for text in completions]
"""
MISDEEDS = ("hang", "exception", "segfault", "swarm", "exit", "nan", "deluge")
HARMLESS = "deluge"
"""What is printed is thrown away, and the rewards count, if they come in time."""


class Inciting(Watcher):
    """Has the function do the next of its misdeeds in each second step."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.records: list[Mapping[str, Any]] = []

    def update(self, record: Mapping[str, Any]) -> None:
        """Say what the next step's calls are to do."""
        self.records.append(record)
        turn, is_misdeed = divmod(len(self.records), 2)
        if is_misdeed and turn < len(MISDEEDS):
            self._file.write_text(MISDEEDS[turn])
        else:
            self._file.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_goes_on_whatever_its_reward_function_does(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "judges.py").write_text(JUDGE)
    steps, group = 2 * len(MISDEEDS) + 1, 4
    config = write_config(
        tmp_path / "run.yaml",
        reward={"name": f"{tmp_path / 'judges.py'}:judge", "deadline": 20},
        method={"name": "grpo", "group": group},
        sampling={"temperature": 1.0, "max_new_tokens": 12},
        train={"steps": steps, "problems_per_step": 1, "threads": 1},
        evaluation={"problems": 4, "temperatures": [0]},
    )
    watcher = Inciting(tmp_path / "misdeed")
    train_into(load_config(config), tmp_path / "run", watcher)
    failed = np.diff([0, *(record["failed_verdicts"] for record in watcher.records)]).tolist()
    found = {misdeed: failed[2 * turn + 1] for turn, misdeed in enumerate(MISDEEDS)}
    last = watcher.records[-1]
    tally(steps=steps, unjudged_completions=found, timeouts=last["timeouts"], crashes=last["crashes"])
    assert failed[::2] == [0] * (len(MISDEEDS) + 1)
    assert all(count == group for misdeed, count in found.items() if misdeed != HARMLESS)
    assert last["timeouts"] in (group, 2 * group)
    assert last["failed_verdicts"] == last["timeouts"] + last["crashes"]
    adapter = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert all(np.isfinite(array).all() for array in adapter.values())
    time.sleep(0.5)
    assert not [child for child in psutil.Process().children(recursive=True) if "reward_worker" in str(child.cmdline())]
