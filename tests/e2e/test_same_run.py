"""A run that goes on, or is measured, is the one that was started: its rows, its base model, and where they lie."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from creditree.cli.main import app
from creditree.config.load import load_config
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into
from tests.e2e.command import Refuse, write_config

ROWS = [{"question": f"{n}*7=\n", "answer": str(7 * n), "split": "test" if n < 14 else "train"} for n in range(11, 21)]


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with ``run.yaml``, its rows, a base model in a directory, and a run; all paths are relative."""
    place = tmp_path_factory.mktemp("same")
    shutil.copytree(Path(str(files("creditree.models"))) / "builtin" / "multiplication", place / "base")
    write_rows(place / "rows.jsonl", ROWS)
    write_config(
        place / "run.yaml",
        model="base",
        task={"name": "file", "path": "rows.jsonl"},
        method={"name": "t-spmo", "group": 2},
        sampling={"temperature": 0.7, "max_new_tokens": 8},
        train={"steps": 1, "problems_per_step": 1, "threads": 1},
        evaluation={"problems": 2, "temperatures": [0]},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train_into(load_config(Path("run.yaml")), Path("run"), Watcher(), resume=False)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place itself, to be changed: it is as it was when the test ends."""
    shutil.copytree(made, tmp_path / "kept")
    monkeypatch.chdir(made)
    return made


@pytest.fixture(autouse=True)
def restore(made: Path, tmp_path: Path) -> object:
    """Put back what a test has changed."""
    yield
    kept = tmp_path / "kept"
    if kept.exists():
        shutil.rmtree(made)
        shutil.copytree(kept, made)


RESUME = ("train", "run.yaml", "--run", "run", "--resume")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*reversed(ROWS)], "The training problems of run run changed since it was started"),
        (ROWS[:-1], "The training problems"),
        ([*ROWS, {"question": "30*7=\n", "answer": "210", "split": "train"}], "The training problems"),
        ([{**row, "answer": "7"} if row["split"] == "test" else row for row in ROWS], "The problems that are measured"),
    ],
)
def test_other_rows_are_noticed_before_any_work(
    rows: list[dict[str, str]], words: str, place: Path, refuse: Refuse
) -> None:
    write_rows(place / "rows.jsonl", rows)
    before = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*") if path.is_file()}
    assert words in refuse(*RESUME)
    now = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != now[path]} <= {".lock"}


def test_another_base_under_the_same_name_is_noticed(place: Path, refuse: Refuse) -> None:
    weights = place / "base" / "model.safetensors"
    arrays = load_file(weights)
    name = sorted(arrays)[0]
    arrays[name] = arrays[name] * 1.001
    save_file(arrays, weights, metadata={"format": "pt"})
    (place / "fresh.csv").write_text("question,answer\n2*3=,6\n", encoding="utf-8")
    assert "has other weights than when run run was started" in refuse(*RESUME)
    for command in (
        ("eval", "run", "--problems", "1", "--temperature", "0"),
        ("eval", "run/adapter", "--task", "multiplication", "--problems", "1", "--temperature", "0"),
        ("train", "--from", "run", "--run", "next"),
    ):
        assert "has other weights than the base that" in refuse(*command)
    assert not (place / "next" / "config.yaml").exists()


def test_an_adapter_with_a_flipped_bit_is_not_gone_on_from(place: Path, refuse: Refuse) -> None:
    weights = place / "run" / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    assert f"{weights.name} has another content than" in refuse("train", "--from", "run", "--run", "next")
    assert not (place / "next" / "config.yaml").exists()


def test_a_run_is_measured_from_anywhere(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunDirectory.read(place / "run").config_yaml
    assert f"path: {place / 'rows.jsonl'}" in config
    assert f"name: {place / 'base'}" in config
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", [{"question": "1*1=\n", "answer": "1"}])  # of the same name, and not meant
    app(["eval", str(place / "run"), "--problems", "1", "--temperature", "0", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["source"] == str(place / "rows.jsonl")
    base = json.loads((place / "run" / "adapter" / "base.json").read_text())
    assert found["base_model"] == base == json.loads((place / "run" / "summary.json").read_text())["base_model"]


def test_a_run_that_is_not_there_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["train", "run.yaml", "--run", "new", "--resume"], standalone_mode=False)
    assert "there is no run in new to continue, so it starts now" in capsys.readouterr().out


def test_an_adapter_is_saved_the_same_in_every_process(place: Path) -> None:
    config = json.loads((place / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["train", "run.yaml", "--run", ""], "--run"),
        (["quickstart", "--run="], "--run"),
        (["eval", ""], "an argument"),
        (["eval", "  "], "an argument"),
        (["eval", "run", "--out", ""], "--out"),
        (["monitor", "run", "", "--state", "x"], "an argument"),
    ],
)
def test_empty_words_are_refused(command: list[str], option: str, refuse: Refuse) -> None:
    assert refuse(*command).startswith(f"{option} is an empty text")
