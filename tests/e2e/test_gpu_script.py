"""The GPU script, on a CPU in tiny sizes: its pieces run, write their records, and a failure is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"
PIECES = {"exactness", "step-grpo-g4-float32", "decode-creditree", "decode-generate", "decode-continuous"}


def run(out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable} | variables
    return subprocess.run(
        ["bash", str(SCRIPT), "--cpu", "--out", str(out)],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_every_piece_runs_on_a_cpu(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = {path.stem.removeprefix("smoke-"): json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(records) == PIECES
    for record in records.values():
        assert record["device"] == "cpu"
        assert record["environment"]["commit"]
    assert all(check["ok"] for check in records["exactness"]["checks"].values())
    assert records["decode-creditree"]["rows"][0]["tokens_per_s"] > 0
    assert records["step-grpo-g4-float32"]["planned_mb"] > 0


def test_a_failing_piece_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "smoke-decode-creditree.json").mkdir()  # where the record should be written
    done = run(tmp_path, PIECES="^decode-(creditree|generate)$")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED    decode-creditree" in done.stdout
    assert "passed    decode-generate" in done.stdout
    record = json.loads((tmp_path / "smoke-decode-generate.json").read_text())
    assert record["rows"][0]["tokens_per_s"] > 0
    assert record["device"] == "cpu"
