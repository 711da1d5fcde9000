"""A sweep's own directory: one sweep at a time, and an error that is not of one run ends it."""

import subprocess
import sys
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.report.watcher import Watcher
from creditree.runs.atomic import StorageError
from creditree.sweep import running as sweep
from creditree.sweep.request import SweepRequest

SWEEP = "base: {task: multiplication, train: {steps: 1}}\ncases: {a: , b: {train.steps: 2}}\n"
HOLD = """
import sys
from pathlib import Path
from creditree.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the runs that are tried: each meets a full disk."""
    tried: list[Path] = []

    def full(config: object, run: Path, out: object, *, resume: bool, workers: int | None) -> None:
        tried.append(run)
        raise StorageError(f"Cannot write {run}: No space left on device; free it or choose another run directory.")

    monkeypatch.setattr(sweep, "train_into", full)
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return tried


def swept(folder: Path) -> None:
    sweep.sweep(SweepRequest(folder / "sweep.yaml", folder / "out"), Watcher())


def test_a_full_disk_ends_the_sweep_at_once(tmp_path: Path, asked: list[Path]) -> None:
    with pytest.raises(StorageError, match="No space left on device"):
        swept(tmp_path)
    assert [path.parent.name for path in asked] == ["a"]


@pytest.mark.parametrize("name", ["sweep.json", "sweep.md"])
def test_somebody_s_file_is_not_written_over(tmp_path: Path, asked: list[Path], name: str) -> None:
    place = tmp_path / "out" / name
    place.parent.mkdir()
    place.write_text("mine")
    with pytest.raises(RunError, match=rf"holds {name} but no run of the sweep, and it would be written over"):
        swept(tmp_path)
    assert (asked, [path.name for path in place.parent.iterdir()]) == ([], [name])


def test_a_second_sweep_is_refused_before_it_tries_anything(tmp_path: Path, asked: list[Path]) -> None:
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(RunError, match="is being written by another process"):
            swept(tmp_path)
        holder.communicate(b"")
    assert asked == []
