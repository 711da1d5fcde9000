"""Damaged files of a run: whoever reads one says which, in one sentence, and what is not concerned goes on.

One small run is made and copied for each case. Nothing is sampled in the fast cases: they are refused before that, or
read no more than files.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from creditree.cli.main import app
from creditree.config.load import load_config
from creditree.errors import CreditreeError, RunError
from creditree.measure.compare import compare
from creditree.measure.target import EvaluationRequest, find_jobs
from creditree.monitor.baseline import find_baseline
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.setup.request import TrainRequest
from creditree.setup.training import train_into
from tests.e2e.command import write_config


def flipped(data: bytes, place: int) -> bytes:
    """Return the bytes with the lowest bit of one of them changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DEEP = b'{"a": ' * 100_000
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one bit flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "no text": lambda data: b"\xff\xfe" + bytes(range(128, 192)),
    "nested": lambda data: DEEP,
    "a list": lambda data: b"[1]",
    "an empty object": lambda data: b"{}",
    "another number": lambda data: b"7",
}
FOLDER = "a folder"
ADAPTER = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/base.json")
READ = {
    "eval": ("config.yaml", *ADAPTER),
    "monitor": ("config.yaml", "evaluation.json", "summary.json", *ADAPTER),
    "compare": ("evaluation.json", "summary.json"),
    "train --from": ("config.yaml",),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run that has ended, made in this process."""
    folder = tmp_path_factory.mktemp("damage")
    blocks = {"sampling": {"temperature": 0.7, "max_new_tokens": 8}, "evaluation": {"problems": 2, "temperatures": [0]}}
    train = {"steps": 2, "problems_per_step": 1, "learning_rate": 4e-3, "threads": 1}
    log = {"checkpoint_every": 1, "rollouts_every": 1}
    config = write_config(folder / "run.yaml", train=train, log=log, method={"name": "t-spmo", "group": 2}, **blocks)
    train_into(load_config(config), folder / "run", Watcher(), resume=False)
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def damage(file: Path, kind: str) -> None:
    if kind == FOLDER:
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(KINDS[kind](file.read_bytes()))


def read(command: str, run: Path) -> None:
    """Do what a command does with the run's files before it loads a model."""
    if command == "eval":
        find_jobs(EvaluationRequest(str(run), problems=1))
    elif command == "monitor":
        find_baseline(str(run), None, ())
    elif command == "compare":
        compare([run, run]).to_json()
    else:
        TrainRequest(None, start=str(run)).load()


@pytest.mark.parametrize("command", READ)
def test_what_a_command_needs_is_named_where_it_is_damaged(command: str, run: Path) -> None:
    read(command, run)
    for name in READ[command]:
        held = (run / name).read_bytes()
        for kind in (*KINDS, FOLDER):
            damage(run / name, kind)
            if name == "config.yaml" and kind in ("one bit flipped", "cut"):
                # It is a text that people may edit, and what is left may be a configuration: told where it was used.
                assert str(run / name) in RunDirectory.read(run).edited
            else:
                with pytest.raises(CreditreeError) as refused:
                    read(command, run)
                sentence = str(refused.value)
                assert str(run / name) in sentence, (name, kind, sentence)
                assert "\n" not in sentence, (name, kind)
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
            (run / name).write_bytes(held)


@pytest.mark.parametrize("name", ["evaluation.json", "summary.json"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_is_checked_where_there_is_no_checksum(name: str, kind: str, run: Path) -> None:
    (run / "creditree.sha256").unlink()
    damage(run / name, kind)
    if kind == "one bit flipped":
        return  # a digit may have become another digit
    with pytest.raises(RunError, match=name):
        read("compare", run)


def test_damaged_completions_are_told_of_and_not_needed_for_a_comparison(run: Path) -> None:
    damage(run / "measurement" / "greedy" / "trained" / "part-000001.parquet", "one bit flipped")
    found = compare([run, run])
    assert found.to_json()["pairs"]
    assert all("part-000001.parquet has another content" in sentence for sentence in found.damages)
    assert len(found.damages) == 2


def restored(run: Path) -> tuple[int | None, list[str]]:
    with RunDirectory.resume(run, (run / "config.yaml").read_text()) as directory:
        checkpoint, said = directory.restore()
        return None if checkpoint is None else checkpoint.step, said


@pytest.mark.parametrize("kind", [*KINDS, FOLDER])
@pytest.mark.parametrize("name", ["arrays.safetensors", "state.json", "manifest.json"])
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(name: str, kind: str, run: Path) -> None:
    damage(run / "checkpoints" / "step-000002" / name, kind)
    step, said = restored(run)
    assert step == 1 or (name == "manifest.json" and kind == "one bit flipped")
    assert any("Checkpoint step 2 is damaged" in one for one in said)


@pytest.mark.parametrize("kind", KINDS)
def test_lost_lines_of_metrics_are_noticed_and_kept_in_mind(kind: str, run: Path) -> None:
    damage(run / "metrics.jsonl", kind)
    step, said = restored(run)
    assert step == 2
    assert "metrics.jsonl holds" in said[0] or "metrics.jsonl has other lines" in said[0]
    assert RunDirectory.read(run).notes == (said[0],)
    RunDirectory.read(run).metrics()


@pytest.mark.parametrize("kind", [*KINDS, "missing"])
def test_damaged_rollouts_are_noticed(kind: str, run: Path) -> None:
    file = run / "rollouts" / "step-000001.parquet"
    file.unlink() if kind == "missing" else damage(file, kind)
    step, said = restored(run)
    assert step == 2
    assert "step-000001.parquet" in said[0]
    assert "the run goes on, without that step's completions" in said[0]


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation.json", "summary.json", "config.yaml", "code.json"])
def test_a_folder_in_the_place_of_a_file_is_refused_at_once(name: str, run: Path) -> None:
    config = (run / "config.yaml").read_text()
    damage(run / name, FOLDER)
    with pytest.raises(RunError, match="is a folder, and a file is kept there; remove it"):
        RunDirectory.resume(run, config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, FOLDER, "missing"])
def test_no_damage_ends_in_a_traceback(
    kind: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file of a run, damaged in one way, under every command that reads a run."""
    fresh = tmp_path / "fresh.csv"
    fresh.write_text("question,answer\n2*3=,6\n", encoding="utf-8")
    config = tmp_path / "run.yaml"
    shutil.copy(run / "config.yaml", config)
    commands = [
        ["train", str(config), "--run", str(run), "--resume"],
        ["eval", str(run), "--problems", "1", "--temperature", "0"],
        ["compare", str(run), str(run)],
        ["monitor", str(run), str(fresh), "--state", str(tmp_path / "state")],
        ["train", "--from", str(run), "--run", str(tmp_path / "next")],
    ]
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    for file in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != ".lock"):
        for command in commands:
            for made in (run, tmp_path / "state", tmp_path / "next"):
                shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(whole, run)
            (run / file).unlink() if kind == "missing" else damage(run / file, kind)
            code, sentence = ended_with(command)
            assert code in (0, 2, 3), (file, command)
            assert "\n" not in sentence, (file, command)
            capsys.readouterr()


def ended_with(command: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and the sentence of a refusal."""
    try:
        app(command, standalone_mode=False)
    except CreditreeError as error:
        return 2, str(error)
    except SystemExit as stop:
        return int(stop.code or 0), ""
    return 0, ""


def test_a_link_inside_a_run_is_not_written_through(run: Path, tmp_path: Path) -> None:
    config, outside = (run / "config.yaml").read_text(), tmp_path / "outside"
    shutil.move(run / "checkpoints", outside)
    os.symlink(outside, run / "checkpoints")
    (outside / "step-000099").mkdir()
    with pytest.raises(RunError, match="checkpoints is a symbolic link"):
        RunDirectory.resume(run, config)
    (run / "checkpoints").unlink()
    with RunDirectory.resume(run, config) as directory:
        os.symlink(outside, run / "checkpoints")
        with pytest.raises(RunError, match="checkpoints is a symbolic link"):
            directory.restore()
    (run / "checkpoints").unlink()
    assert (outside / "step-000099").is_dir()
    (run / ".lock").unlink(missing_ok=True)
    (tmp_path / "precious").write_text("content")
    os.symlink(tmp_path / "precious", run / ".lock")
    with pytest.raises(RunError, match=r"Cannot write .*\.lock"):
        RunDirectory.resume(run, config)
    assert (tmp_path / "precious").read_text() == "content"
