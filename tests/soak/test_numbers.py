"""Settings and rewards that make numbers explode: the run says so, and nothing that it keeps is other than finite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from creditree.config.load import load_config
from creditree.errors import ModelError
from creditree.report.watcher import Watcher
from creditree.setup.training import train_into
from tests.e2e.command import write_config
from tests.soak.conftest import Tally

TRAIN = {"steps": 12, "problems_per_step": 2, "threads": 1, "learning_rate": 4e-3}
POISONS: dict[str, dict[str, Any]] = {
    "rate 3e38": {"learning_rate": 3e38},
    "rate 1e30": {"learning_rate": 1e30},
    "rate 1e6": {"learning_rate": 1e6},
    "rate 100": {"learning_rate": 100.0},
    "eps 2e-38": {"eps": 2e-38},
    "a norm": {"skip_grad_norm": 1e-9},
    "a mismatch": {"max_mismatch": 1e-12},
    "rewards": {},
}
HUGE = "def judge(completions, **columns):\n    return [1e29 * (-1) ** len(text) for text in completions]\n"


class Listening(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.records: list[Mapping[str, Any]] = []

    def message(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    def update(self, record: Mapping[str, Any]) -> None:
        """Keep it."""
        self.records.append(record)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("poison", POISONS)
def test_nothing_that_is_kept_is_other_than_finite(poison: str, tmp_path: Path, tally: Tally) -> None:
    more = {}
    if poison == "rewards":
        (tmp_path / "huge.py").write_text(HUGE)
        more = {"reward": f"{tmp_path / 'huge.py'}:judge"}
    config = write_config(
        tmp_path / "run.yaml",
        train=TRAIN | POISONS[poison],
        method={"name": "grpo", "group": 4},
        evaluation={"problems": 4, "temperatures": [0]},
        log={"checkpoint_every": 1},
        **more,
    )
    watcher, end = Listening(), ""
    try:
        train_into(load_config(config), tmp_path / "run", watcher)
    except ModelError as error:
        end = str(error)
    files = [*(tmp_path / "run").rglob("*.safetensors")]
    assert files
    for file in files:
        for name, array in load_file(file).items():
            assert array.dtype.kind not in "f" or np.isfinite(array).all(), (file, name)
    left_out = [text for text in watcher.said if "an update is left out" in text]
    assert all("(problem" in text for text in left_out)
    assert not end or ("training stopped" in end and "\n" not in end)
    skipped = watcher.records[-1]["skipped"] if watcher.records else 0
    assert skipped == 0 or left_out
    tally(ended=bool(end), skipped=skipped, files_looked_at=len(files))
