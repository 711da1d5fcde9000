"""A whole run on a quantised base, from the command line."""

import signal
from pathlib import Path

import pytest
import yaml

from creditree.runs.directory import RunDirectory
from tests.e2e.command import creditree, python, typed, write_config
from tests.e2e.test_resume import VALIDATION, stop_at
from tests.runs_alike import content

MODEL = {"name": "builtin:multiplication", "dtype": "nf4"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "run.yaml", model=MODEL, validation=VALIDATION)


@pytest.mark.thorough
def test_killed_and_resumed_equals_uninterrupted(config: Path, tmp_path: Path) -> None:
    """To the bit: weights are quantised again, to the same codes. Nothing but the run's own words is printed."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    done = typed("train", config, "--run", whole)
    assert "bitsandbytes" not in done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert stop_at(config, run, 5, signal.SIGKILL) == -signal.SIGKILL
    creditree("train", config, "--run", run, "--resume")
    assert content(run) == content(whole)
    assert any(record["updates"] for record in RunDirectory.read(whole).metrics())
    assert yaml.safe_load((whole / "config.yaml").read_text())["model"]["dtype"] == "nf4"
    evaluated = typed("eval", whole, "--json", "--problems", "20")
    assert " completions" in evaluated.stderr
    assert "bitsandbytes" not in evaluated.stderr
    assert "Warning" not in evaluated.stderr


def test_int8_from_the_command_line(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    creditree("train", config, "--run", run, "--set", "model.dtype=int8", "--set", "train.steps=2")
    assert len(list(RunDirectory.read(run).metrics())) == 2


@pytest.mark.thorough
def test_bitsandbytes_says_nothing_when_peft_imports_it() -> None:
    """It does, whatever the base model: on CPUs with AVX512-BF16 it misses a kernel that nobody asked for."""
    assert python("-W", "error::UserWarning", "-c", "import creditree.models.adapter").stderr == ""
