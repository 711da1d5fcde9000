"""The command line as a user types it: a new process each time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def write_config(path: Path, **blocks: Any) -> Path:
    """Write SMALL with whole blocks replaced or added."""
    path.write_text(yaml.safe_dump(SMALL | blocks), encoding="utf-8")
    return path


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command."""
    command = [sys.executable, "-m", "creditree", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


def creditree(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and check its exit code."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=300)


def creditree_json(*arguments: str | Path) -> Any:
    """Run a command with --json and return what it prints."""
    return json.loads(creditree(*arguments, "--json").stdout)
