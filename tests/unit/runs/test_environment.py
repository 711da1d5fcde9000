import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs import environment
from creditree.runs.environment import content_digest, describe_environment, git_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_the_commit_is_that_of_the_folders_own_files(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    installed.mkdir()
    (source / "code.py").touch()
    (installed / "code.py").touch()
    assert git_commit(source) is None
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "source")
    assert git_commit(source) is None
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert len(commit) == 40
    assert git_commit(source) == commit
    assert git_commit(installed) is None
    (source / "code.py").write_text("changed")
    assert git_commit(source) == f"{commit}-dirty"


def fake_driver(folder: Path, answer: str, status: int = 0) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {status}\n")
    program.chmod(0o755)


def test_gpus_are_named_where_the_driver_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gpu" not in describe_environment()
    fake_driver(tmp_path, "NVIDIA A\\nNVIDIA B\\n")
    found = describe_environment()
    assert found["gpu"] == "NVIDIA A, NVIDIA B"
    assert "cuda" in found
    fake_driver(tmp_path, "no devices were found", status=6)
    assert "gpu" not in describe_environment()


def test_the_cuda_version_is_read_without_importing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError")
    (package / "version.py").write_text("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n")
    spec = importlib.util.spec_from_file_location("torch", package / "__init__.py")
    monkeypatch.setattr(environment, "find_spec", lambda name: spec)
    assert environment._cuda_version() == "12.8"
    (package / "version.py").write_text("cuda: Optional[str] = None\n")
    assert environment._cuda_version() is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(RunError, match="it is a pipe or a device"):
        content_digest(tmp_path)
