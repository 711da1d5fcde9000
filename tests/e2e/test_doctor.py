"""`creditree doctor`: its exit codes, its JSON, and its mistakes. What it finds: tests/unit/doctor."""

import json
import sys
from pathlib import Path

import pytest

from creditree.cli.main import run
from creditree.config.load import dump_config
from creditree.ledger import Ledger
from creditree.runs.directory import RunDirectory
from tests.e2e.command import Refuse
from tests.unit.doctor.cases import config, records


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped after 8 of 40 steps, with nothing wrong."""
    with RunDirectory.create(tmp_path / "run", dump_config(config())) as directory:
        for record in records(8, Ledger(completions=64, updates=8, solved=30, worthless=34)):
            directory.append(record)
    return tmp_path / "run"


def code_of(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["creditree", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return int(str(ended.value.code))


def test_notes_end_with_0_and_problems_with_1(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(monkeypatch, stopped) == 0
    out = capsys.readouterr().out
    assert "note unfinished: The run has made 8 of 40 steps" in out
    assert "continue it with --resume" in out
    with RunDirectory.resume(stopped, dump_config(config())) as directory:
        directory.append({"step": 9, "completions": 72, "updates": 8, "skipped": 9, "mixed_share": 0.5, "problems": 1})
    assert code_of(monkeypatch, stopped, "--json") == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["schema_version"], record["healthy"], record["problems"]) == (1, False, 1)
    first = record["findings"][0]
    assert (first["id"], first["severity"], first["section"]) == ("not_finite", "problem", "docs/doctor.md#not_finite")
    assert first["yaml"] == ["train: {learning_rate: 0.0013}"]


def test_mistakes(stopped: Path, refuse: Refuse, tmp_path: Path) -> None:
    assert "does not exist" in refuse("doctor", tmp_path / "nothing.yaml")
    assert "There is no run in" in refuse("doctor", tmp_path)
    assert "--set change a configuration" in refuse("doctor", stopped, "--set", "train.steps=2")
