"""The GPU script, on a CPU in tiny sizes: its pieces run, write their records as they go, and failures are told."""

import os
import subprocess
import sys
import time
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest

from benchmarks import gpu_run
from benchmarks.gpu_record import read
from benchmarks.gpu_run import MOST_SECONDS, PIECES, Piece, Run, chosen

CUT_S = 19
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), "--cpu", "--out", str(out), *options],
        capture_output=True, text=True, env=os.environ | {"PYTHON": sys.executable}, timeout=1800, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_piece_runs_on_a_cpu(tmp_path: Path) -> None:
    done = run(tmp_path, "--seconds", "1700")
    assert done.returncode == 0, done.stdout + done.stderr
    records = read(tmp_path / "smoke.jsonl")
    pieces = {name.removeprefix("piece ") for name in records if name.startswith("piece ")}
    assert pieces == {piece.name for piece in gpu_run.smoke_pieces(tmp_path)}
    assert pieces <= records.keys()
    for piece in pieces:
        assert records[piece]["device"] == "cpu"
        assert records[piece]["environment"]["commit"]
        assert records[f"piece {piece}"]["status"] == "passed"
    assert all(check["ok"] for check in records["exactness"]["checks"].values())
    assert records["decode"]["rows"][0]["tokens_per_s"] > 0
    assert records["grpo"]["planned_mb"] > 0
    assert records["graphs"]["eager"] == 0
    assert records["trl"]["step"] is None or records["trl"]["step"]["wall_s"]["step"] > 0
    assert records["learning"]["summary"]["steps"]["done"] == 2
    assert records["learning step 2"]["step"] == 2


def script(folder: Path, name: str, text: str) -> str:
    """Write a script that a piece can name."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def made(tmp_path: Path, *pieces: tuple[str, int, str]) -> tuple[Run, dict[str, dict[str, Any]]]:
    """Run pieces: name, seconds, and the text of the script."""
    one = Run("cpu", tmp_path / "out", monotonic() + 600)
    for name, seconds, text in pieces:
        one.make(Piece(name, seconds, script(tmp_path, name, text)))
    return one, read(one.file)


STARTS = """
import json, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
out = Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
with (out / "smoke.jsonl").open("a") as file:
    print(json.dumps({"name": "half", "child": child.pid}), file=file, flush=True)
time.sleep(600)
"""
"""Writes a record, and is then cut off while a process that it has started runs."""


class Hasty(subprocess.Popen[bytes]):
    """A process for which the seconds are over once it has written its record."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait as any process does for those with other limits."""
        if timeout == CUT_S:
            words = cast(list[str], self.args)
            file = Path(words[words.index("--out") + 1], "smoke.jsonl")
            while "half" not in read(file):
                time.sleep(0.02)
            timeout = 0.0
        return super().wait(timeout)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_piece_that_fails_or_is_cut_off_stops_no_other_and_loses_nothing_that_it_wrote(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_run, "FEWEST_SECONDS", 1)
    monkeypatch.setattr("subprocess.Popen", Hasty)
    one, records = made(
        tmp_path,
        ("broken", 20, "raise ValueError('no')"),
        ("eager", 20, "raise SystemExit(8)"),
        ("slow", CUT_S, STARTS),
        ("well", 20, "pass"),
    )
    statuses = {name: records[f"piece {name}"]["status"] for name in ("broken", "eager", "slow", "well")}
    assert statuses == {"broken": "failed", "eager": "eager", "slow": "no time", "well": "passed"}
    assert one.status == 1 + 4 + 8
    assert not is_running(records["half"]["child"])  # what a piece has started ends with it
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["failed", "eager", "no", "passed"]


def test_pieces_that_passed_are_left_out_and_no_time_is_said(tmp_path: Path) -> None:
    one, _ = made(tmp_path, ("well", 20, "pass"), ("broken", 20, "raise SystemExit(1)"))
    assert one.passed(Piece("well", 1, ""))
    assert not one.passed(Piece("broken", 1, ""))
    late = Run("cpu", tmp_path / "out", monotonic() + 1)
    late.make(Piece("late", 60, "never.py"))
    assert late.status == 4
    assert read(late.file)["piece late"]["exit"] is None
    with late.file.open("a") as file:
        file.write('{"name": "piece wel')  # where the machine went away
    assert late.passed(Piece("well", 1, ""))


def test_pieces_are_short_named_once_and_chosen_by_name() -> None:
    names = [piece.name for piece in PIECES]
    assert len(set(names)) == len(names)
    assert all(piece.seconds <= MOST_SECONDS and (SCRIPT.parent / piece.script).is_file() for piece in PIECES)
    assert [piece.name for piece in chosen(PIECES, ["trl", "graphs"])] == ["graphs", "trl"]
    with pytest.raises(SystemExit) as stopped:
        chosen(PIECES, ["decode"])
    assert stopped.value.code == 2


def test_a_file_is_carried_in_parts_and_joined_only_when_it_is_whole(tmp_path: Path) -> None:
    """The scripts find their folder beside themselves, so they are copied."""
    home = tmp_path / "benchmarks"
    home.mkdir()
    carry = home / "gpu_carry.sh"
    carry.write_text((SCRIPT.parent / "gpu_carry.sh").read_text())
    weights = tmp_path / "w.gguf"
    weights.write_bytes(bytes(range(256)) * 10)

    def call(*words: str) -> int:
        return subprocess.run(
            ["bash", str(carry), *words], env=os.environ | {"PART": "1000"}, check=False, capture_output=True
        ).returncode

    assert call("split", str(weights)) == 0
    parts = sorted((home / "carry").glob("*.part-*"))
    assert [part.stat().st_size for part in parts] == [1000, 1000, 560]
    held = parts[1].read_bytes()
    parts[1].unlink()
    assert call("join") == 1
    assert not (home / "carry" / "w.gguf").exists()
    parts[1].write_bytes(held)
    assert call("join") == 0
    assert (home / "carry" / "w.gguf").read_bytes() == weights.read_bytes()
    assert not list((home / "carry").glob("*.part-*"))
    assert sorted(path.name for path in (home / "carry").iterdir()) == ["w.gguf", "w.gguf.sha256"]
