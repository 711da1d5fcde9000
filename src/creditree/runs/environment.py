"""What a run was made with: versions of the code and of the libraries, and the hardware."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from creditree.disk import opened
from creditree.errors import RunError
from creditree.processor import processor_name

_LIBRARIES = ("torch", "transformers", "peft", "numpy", "safetensors", "pyarrow")
_MIB = 2**20
_PACKAGE = Path(__file__).resolve().parents[1]


def describe_environment() -> dict[str, object]:
    """Return versions (None: not installed), the commit of Creditree's source if it is under git, and the hardware."""
    return {
        "creditree": _version("creditree"),
        "commit": git_commit(_PACKAGE),
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor_name(),
        "cores": num_cores(),
        **_gpu(),
    }


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return a sentence for each entry that differs: a continued run is then not surely the same to the last bit."""
    return [
        f"This run was started with {name} {before.get(name)} and continues with {now.get(name)}: "
        "its numbers may differ from an uninterrupted run's."
        for name in now
        if before.get(name) != now.get(name)
    ]


def git_commit(folder: Path) -> str | None:
    """Return the commit that `folder`'s tracked files are of, with "-dirty" if they were changed; None if untracked."""
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--", ".") else commit


def content_digest(folder: Path) -> str:
    """Return 16 hexadecimal digits that tell saved weights apart: of names, sizes, and both ends of every file.

    A file of up to 2 MiB is read whole, of a larger one the first and the last MiB: enough to see that weights were
    trained further, without reading gigabytes. Looks at ``*.safetensors`` and ``*.json`` of the folder itself. Raises
    RunError for one that cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        try:
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with opened(path) as file:
                digest.update(file.read(_MIB))
                if size > _MIB:
                    file.seek(max(_MIB, size - _MIB))
                    digest.update(file.read())
        except OSError as error:
            raise RunError(f"Cannot read {path}: {error.strerror}; restore it, or choose another directory.") from error
    return digest.hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu() -> dict[str, object]:
    """Return the names of the GPUs and the CUDA version that torch was built for; nothing where there is no GPU.

    Asked of the driver's own program: torch would take memory on the first GPU to answer, even of a run on the CPU.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    try:
        done = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return {"gpu": ", ".join(names), "cuda": _cuda_version()} if names else {}


def _cuda_version() -> str | None:
    """Return what `torch.version.cuda` says, read from torch's file so that torch need not be imported."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^cuda\b[^=\n]*=\s*'([^']+)'", text, re.MULTILINE)
    return match[1] if match else None


def num_cores() -> int:
    """Return the cores that this process may use, which can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))
