"""TRL's own virtual environment: made once, kept in the cache, with the torch that Creditree runs on."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

TRL_VERSION = "1.16.0"


def cache_directory() -> Path:
    """Return where benchmark models, prompts and TRL's environment are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "creditree" / "benchmarks"


def trl_python(cache: Path) -> Path:
    """Return the interpreter of TRL's environment, which is made on first use (minutes)."""
    home = cache / f"trl-{TRL_VERSION}"
    python, done = home / "bin" / "python", home / ".installed"
    if not done.is_file():
        print(f"making a virtual environment for TRL {TRL_VERSION} in {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        # torch first and by version, as the Makefile does: pip then takes a CPU build where one is at hand
        subprocess.run([*pip, f"torch=={version('torch').partition('+')[0]}"], check=True)
        subprocess.run([*pip, f"trl=={TRL_VERSION}", "transformers", "peft"], check=True)
        done.touch()
    return python
