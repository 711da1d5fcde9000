"""The command line, a process each time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}

Refuse = Callable[..., str]
"""Runs a command in this process, checks that it is refused properly, and returns the sentence."""

SMALL: dict[str, Any] = {
    "task": {"name": "multiplication", "digits_a": 3, "digits_b": 1},
    "method": {"name": "t-spmo", "group": 6, "l2": 0.0},
    "sampling": {"temperature": 0.7, "max_new_tokens": 48},
    "train": {"steps": 6, "problems_per_step": 2, "learning_rate": 4e-3, "threads": 1},
    "evaluation": {"problems": 20, "temperatures": [0, 0.3]},
    "log": {"checkpoint_every": 4, "rollouts_every": 2},
}
"""A run of seconds on the real built-in model."""

STOPPED = pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), pytest.param(signal.SIGINT, 130, marks=pytest.mark.thorough)],
)
"""A command is killed, or interrupted; `make test` interrupts a training run only."""


def write_config(path: Path, **blocks: Any) -> Path:
    """Write SMALL with whole blocks replaced or added."""
    path.write_text(yaml.safe_dump(SMALL | blocks), encoding="utf-8")
    return path


class Command:
    """A command in a process of its own, forked from one that has imported what commands import (see `warm`).

    Six of the seven CPU seconds of a short command are imports. Its signals, its exit code, its files, what it prints
    and its death are those of any process; `typed` starts one from nothing.
    """

    def __init__(self, arguments: Sequence[str], cwd: Path | None = None, prepared: Callable[[], object] = int) -> None:
        """`prepared` is called in the process before the command; it is sent there."""
        self._folder = TemporaryDirectory(prefix="creditree-command-")
        self._printed = [Path(self._folder.name) / name for name in ("out", "err")]
        self._process = FORKS.Process(target=be_command, args=(list(arguments), cwd, self._printed, prepared))
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        return self._process.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        """Send a signal, if the command has not ended."""
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, how)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for the end; return what was printed on stdout and on stderr."""
        self._process.join(timeout)
        late = self.poll() is None
        if late:
            self._process.kill()
            self._process.join()
        out, err = (path.read_text(encoding="utf-8") if path.exists() else "" for path in self._printed)
        self._folder.cleanup()
        assert not late, f"still running after {timeout} s\n{out}\n{err}"
        return out, err

    @property
    def returncode(self) -> int:
        """The exit code of a command that has ended; the negative number of the signal that ended it."""
        code = self.poll()
        assert code is not None
        return code


NEEDED = (
    "setup.training", "measure.evaluation", "sweep.running", "monitor.call", "pilot.stages", "measure.compare",
    "measure.grade", "setup.plan_words", "cli.describe", "setup.dry_run",
)  # fmt: skip
"""What commands import when they run."""
FORKS = get_context("forkserver")  # Python has one such process in all: nothing else may say what it imports
FORKS.set_forkserver_preload(["pytest", *(f"creditree.{name}" for name in NEEDED), "tests.e2e.warm"])


def be_command(arguments: list[str], cwd: Path | None, printed: list[Path], prepared: Callable[[], object]) -> None:
    """Be the command: in its folder, with its words, printing into files."""
    for path, stream in zip(printed, (1, 2), strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
        os.close(file)
    os.environ.update(ENVIRONMENT)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["creditree", *arguments]
    from creditree.cli.main import run

    prepared()
    run()


def start(*arguments: str | Path, cwd: Path | None = None) -> Command:
    """Start a command."""
    return Command([*map(str, arguments)], cwd)


def creditree(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and check its exit code."""
    command = start(*arguments, cwd=cwd)
    out, err = command.communicate()
    assert command.returncode == code, f"exit code {command.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess([*map(str, arguments)], command.returncode, out, err)


def typed(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as a user types it: a new interpreter, whose own imports may print as well."""
    return python("-m", "creditree", *map(str, arguments), cwd=cwd)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=300)


def creditree_json(*arguments: str | Path) -> Any:
    """Run a command with --json and return what it prints."""
    return json.loads(creditree(*arguments, "--json").stdout)
