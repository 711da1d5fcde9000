import subprocess
from pathlib import Path

from creditree.runs.environment import git_commit


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
