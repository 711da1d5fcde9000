"""Two thousand steps in one process: its memory does not grow."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest

from creditree.config.load import load_config
from creditree.report.watcher import Watcher
from creditree.setup.training import train_into
from tests.e2e.command import FORKS, write_config
from tests.soak.conftest import Tally

STEPS, WARM, EVERY = 2000, 400, 10
MOST = 1024
"""Bytes a step: 1 MB in a thousand steps. What is kept of a step (its metrics, say) would be more."""


class Weighed(Watcher):
    """Notes the resident memory of the process every few steps."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self._process = psutil.Process()

    def update(self, record: Mapping[str, object]) -> None:
        """Note it."""
        step = record["step"]
        assert isinstance(step, int)
        if step % EVERY == 0:
            self.found.append((step, self._process.memory_info().rss))


def _trained(config: Path, run: Path, out: Path) -> None:
    watcher = Weighed()
    train_into(load_config(config), run, watcher)
    out.write_text(json.dumps(watcher.found))


def slope_of(found: np.ndarray) -> tuple[float, float]:
    """Return the slope of memory over steps, in bytes a step, and half its 95 % interval.

    Least squares over the means of 12 stretches of equal length: memory comes in pages and arenas, so neighbouring
    values hang together, and the means hardly do. Of n = 12 points with residuals r the slope's standard error is
    sqrt(sum r^2 / (n - 2) / sum (x - mean x)^2); 2.23 is t of 10 degrees of freedom.
    """
    means = np.array([stretch.mean(axis=0) for stretch in np.array_split(found.astype(float), 12)])
    steps, held = means.T
    slope, level = np.polyfit(steps, held, 1)
    residuals = held - (slope * steps + level)
    error = math.sqrt((residuals**2).sum() / (len(steps) - 2) / ((steps - steps.mean()) ** 2).sum())
    return float(slope), 2.23 * error


def test_a_slope_is_found_with_its_interval() -> None:
    """3 bytes a step, exactly, and with noise of 100 bytes, which is far from explaining a slope of 3."""
    steps = np.arange(10, 2010, 10)
    slope, half = slope_of(np.stack([steps, 3 * steps + 7], axis=1))
    assert slope == pytest.approx(3.0)
    assert half == pytest.approx(0.0, abs=1e-6)
    noise = np.random.default_rng(0).normal(0.0, 100.0, len(steps))
    slope, half = slope_of(np.stack([steps, 3 * steps + noise], axis=1))
    assert abs(slope - 3.0) < half < 0.1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow(tmp_path: Path, tally: Tally) -> None:
    config = write_config(
        tmp_path / "run.yaml",
        method={"name": "grpo", "group": 4},
        sampling={"temperature": 0.7, "max_new_tokens": 12},
        train={"steps": STEPS, "problems_per_step": 1, "learning_rate": 1e-3, "threads": 1},
        evaluation={"problems": 2, "temperatures": [0]},
        log={"checkpoint_every": 100, "rollouts_every": 50},
    )
    out = tmp_path / "found.json"
    process = FORKS.Process(target=_trained, args=(config, tmp_path / "run", out))
    process.start()
    process.join()
    assert process.exitcode == 0
    found = np.array(json.loads(out.read_text()))
    slope, half = slope_of(found[found[:, 0] > WARM])
    tally(steps=STEPS, bytes_a_step=round(slope, 1), plus_minus=round(half, 1), resident=int(found[-1, 1]))
    assert slope < MOST
