"""Compile the native decode step on first use, keep it for later runs, and do without it where there is no compiler."""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

SWITCH = "CREDITREE_NATIVE"
"""Set to 0, this environment variable keeps the engine on torch."""
KINDS = {"float32": 0, "float64": 1, "bfloat16": 2}
_SOURCES = ("vectors.h", "products.h", "influence.h", "model.h", "distribution.h", "decode.cpp")
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared"),
    "-fno-tree-loop-distribute-patterns",  # the sums of a tile are cleared in registers, not by memset
)
_SECONDS = 120


_compiling = threading.Lock()


def prepare(dtype: str = "float32") -> None:
    """Start to compile in the background what `library` will be asked for, while heavy packages are imported."""
    threading.Thread(target=_prepared, args=[dtype], daemon=True).start()


def _prepared(dtype: str) -> None:
    with _compiling, contextlib.suppress(OSError, subprocess.SubprocessError):
        compiler = _compiler()
        if compiler is not None and os.environ.get(SWITCH) != "0":
            _built(compiler, dtype)


@cache
def library(dtype: str) -> Any | None:
    """Return the compiled library for base weights of `dtype`, or None: no compiler, or not to be used."""
    if os.environ.get(SWITCH) == "0" or dtype not in KINDS:
        return None
    compiler = _compiler()
    if compiler is None:
        return None
    try:
        with _compiling:
            path = _built(compiler, dtype)
        return _declared(ctypes.CDLL(str(path)))
    except (OSError, subprocess.SubprocessError):
        return None


def can_compile(dtype: str) -> bool:
    """Return whether `library` can be expected to return one: there is a compiler, and nobody switched it off."""
    return os.environ.get(SWITCH) != "0" and dtype in KINDS and _compiler() is not None


def _compiler() -> str | None:
    names = [os.environ.get("CXX"), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _built(compiler: str, dtype: str) -> Path:
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in _SOURCES}
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=_SECONDS, check=True).stdout
    digest = hashlib.sha256(repr((sources, version, _FLAGS, _processor())).encode()).hexdigest()[:16]
    target = _directory() / f"decode-{dtype}-{digest}.so"
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for name, text in sources.items():
            Path(folder, name).write_bytes(text)
        made = Path(folder, target.name)
        command = [compiler, *_FLAGS, f"-DKIND={KINDS[dtype]}", str(Path(folder, "decode.cpp")), "-o", str(made)]
        for threads in (["-fopenmp"], []):
            done = subprocess.run([*command, *threads], capture_output=True, timeout=_SECONDS, check=False)
            if done.returncode == 0:
                break
        done.check_returncode()
        made.replace(target)
    return target


def _processor() -> str:
    """What -march=native depends on: a home directory may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "creditree" / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="creditree-native-"))


def _declared(found: Any) -> Any:
    address, whole = ctypes.c_void_p, ctypes.c_int64
    found.creditree_new.restype = address
    found.creditree_new.argtypes = [address] * 5
    found.creditree_free.restype = None
    found.creditree_free.argtypes = [address]
    found.creditree_cells.restype = None
    found.creditree_cells.argtypes = [address, address]
    found.creditree_forward.restype = None
    found.creditree_forward.argtypes = [address, address, address, address, whole]
    found.creditree_begin.restype = None
    found.creditree_begin.argtypes = [
        address,
        address,
        address,
        whole,
        address,
        address,
        whole,
        whole,
        address,
        address,
    ]
    found.creditree_watch.restype = None
    found.creditree_watch.argtypes = [address, address]
    found.creditree_run.restype = whole
    found.creditree_run.argtypes = [address, ctypes.c_double, address]
    return found
