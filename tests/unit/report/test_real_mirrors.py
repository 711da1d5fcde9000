"""The real packages of Weights & Biases and trackio, offline: what they keep holds the numbers."""

import json
import sqlite3
import time
from pathlib import Path

import pytest

from creditree.report.mirrors import mirrored, open_mirrors
from creditree.report.watcher import Watcher


class Told(Watcher):
    """Remembers the sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def mirror(name: str, folder: Path) -> None:
    """Mirror two steps into a package, without a word of failure."""
    watcher = Told()
    with mirrored(watcher, open_mirrors([name], folder / "run", {"seed": 7}, watcher.message)) as both:
        for step in (1, 2):
            both.update({"step": step, "loss": 0.5 / step, "seconds_by_phase": {"sample": 1.0}})
    assert watcher.said == []


@pytest.mark.slow
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    mirror("wandb", tmp_path)
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(300):  # a process of wandb's own writes it
        if b"0.25" in (data := kept.read_bytes()):
            break
        time.sleep(0.1)
    assert b"loss" in data
    assert b"0.25" in data


@pytest.mark.slow
def test_trackio_keeps_a_run_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="trackio is not installed")
    mirror("trackio", tmp_path)
    assert capsys.readouterr().out == ""  # where a command's own words go
    (base,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(base) as opened:
        rows = opened.execute("select step, metrics from metrics order by step").fetchall()
    assert [(step, json.loads(numbers)["loss"]) for step, numbers in rows] == [(1, 0.5), (2, 0.25)]
