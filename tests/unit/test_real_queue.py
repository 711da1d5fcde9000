"""The queue of the table of real models: time that ends, files and devices that are missing, the archive."""

import sys
import tarfile
from argparse import Namespace
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from creditree.config.load import check_config
from creditree.ledger import Seconds
from creditree.setup.build import build_settings
from recipes.real import run_cell, run_table
from recipes.real.cells import SETUPS, RealCell, wanted_cells
from recipes.real.fetch import SOURCES
from recipes.real.run_cell import Places
from recipes.real.run_table import EAGER, FAILED, NO_TIME, Queue
from tests.tiny_models import tiny
from tests.unit.engines.test_static import static_engine

CELL = RealCell(SETUPS[0], "base")


def queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, seconds: float = 60, cell: RealCell = CELL
) -> tuple[int, Queue]:
    """Run a cell whose process is a program of its own; return its status."""
    options = Namespace(out=tmp_path / "out", work=tmp_path / "work", archive=tmp_path / "all.tar.gz", workers=2)
    made = Queue(options, monotonic() + seconds)
    monkeypatch.setattr(Queue, "_command", lambda _self, _cell: [sys.executable, "-c", program])
    return made.run(cell), made


def result(tmp_path: Path, text: str = "{}") -> str:
    """Return a program that writes the raw file of the cell."""
    path = tmp_path / "out" / CELL.table / f"{CELL.file}.json"
    return f"from pathlib import Path; p = Path({str(path)!r}); p.parent.mkdir(parents=True); p.write_text({text!r})"


def test_what_is_done_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, made = queue(tmp_path, monkeypatch, result(tmp_path) + "; print('said')")
    assert (status, made.is_done(CELL)) == (0, True)
    with tarfile.open(tmp_path / "all.tar.gz") as tar:
        assert tar.getnames() == [f"{CELL.table}/{CELL.file}.json", f"output/{CELL.file}.log"]
    assert not list(tmp_path.glob(".*"))


def test_a_cell_whose_time_ends_is_stopped_and_its_unfinished_file_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{CELL.file}.json").write_text("{}")
    status, made = queue(tmp_path, monkeypatch, "import time; time.sleep(60)", seconds=1)
    assert status == NO_TIME
    with tarfile.open(tmp_path / "all.tar.gz") as tar:
        assert tar.getnames()[0] == f"unfinished/{CELL.file}.json"
    assert made.run(CELL) == NO_TIME  # the next one is not begun


def test_a_cell_that_fails_is_told_by_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert queue(tmp_path, monkeypatch, "raise SystemExit('the reason')")[0] == FAILED
    assert "failed (the reason), see" in capsys.readouterr().out


def test_decoding_steps_that_no_graph_launched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = result(tmp_path, '{"eager": 3}')
    assert queue(tmp_path, monkeypatch, program)[0] == EAGER
    assert "done, 3 decoding steps by no graph, after" in capsys.readouterr().out


def test_on_a_gpu_a_cell_has_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(16)))
    (cell,) = wanted_cells("svamp-qwen-256--base")
    queue(tmp_path, monkeypatch, "import os; exit(os.environ['OMP_NUM_THREADS'])", cell=cell)
    assert (tmp_path / "work" / f"{cell.file}.log").read_text() == "4\n"  # of 16 / 2 at most four


@pytest.mark.parametrize(("named", "wanted"), [("measured", None), ("plain", "plain")])
def test_the_kernels_that_are_named_reach_the_recorder_of_each_cell(
    named: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the queue's command line to that of the cell's process, to its places, to who records decoding steps."""
    (cell,) = wanted_cells("svamp-qwen-256--base")
    folders = {name: tmp_path for name in ("weights", "work", "out")}
    queue = Queue(Namespace(**folders, data=None, workers=1, kernels=named, smoke=False), monotonic())
    command = queue._command(cell)
    reached: list[Places] = []
    monkeypatch.setattr(run_cell, "run_cell", lambda _cell, places: reached.append(places))
    monkeypatch.setattr("sys.argv", command[2:])
    run_table.main()
    parts: Any = SimpleNamespace(engine=static_engine(tiny()))
    run_cell.want_kernels(parts, reached[0].kernels)
    assert parts.engine.recorder.wanted == wanted


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one sentence that a command ends with."""
    monkeypatch.setattr("sys.argv", ["run_table", *words])
    with pytest.raises(SystemExit) as ended:
        run_table.main()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


def test_without_a_gpu_or_a_file_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folders = {"--weights": tmp_path, "--work": tmp_path / "work", "--out": tmp_path / "out"}
    words = ["--only=svamp-qwen-256", *(f"{name}={path}" for name, path in folders.items())]
    said = refusal(monkeypatch, capsys, *words)
    assert said.startswith(f"{tmp_path / SOURCES['qwen'].file} is not there: ")
    (tmp_path / SOURCES["qwen"].file).touch()
    assert "none.jsonl is not there" in refusal(monkeypatch, capsys, *words, f"--data={tmp_path / 'none.jsonl'}")
    said = refusal(monkeypatch, capsys, *words)
    assert said.startswith("svamp-qwen-256 needs a CUDA device, and torch finds none here")
    assert not (tmp_path / "work").exists()


def test_cells_end_by_their_sampled_tokens_alone() -> None:
    final = RealCell(SETUPS[0], "final", "t-spmo", 1e-3)
    config = check_config(final.configuration(Path("weights"), Path("svamp.jsonl")), final.file)
    settings = build_settings(config)
    assert settings.progress(10_000, Seconds(), 29_999) < 1 <= settings.progress(20, Seconds(), 30_000)
