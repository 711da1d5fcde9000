"""The C++ compiler of this machine, and what it makes of the native decoder's sources."""

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from creditree.engines.native.cache import BUILDING, keep
from creditree.errors import ConfigError
from creditree.processor import processor_lines

KINDS = {"float32": 0, "float64": 1, "bfloat16": 2}
SOURCES = (
    *("vectors.h", "rows.h", "shares.h", "formats.h", "tile.h", "products.h", "tile_weights.h", "matrix_unit.h"),
    *("attention.h", "influence.h", "model.h", "distribution.h", "rollout.h", "decode.cpp"),
)
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
GCC_FLAGS = ("-fno-tree-loop-distribute-patterns",)
"""Sums of a tile are cleared in registers, not by memset. Clang refuses this: it does not know it."""
WHOLE_BRANCHES = "-mbranches-within-32B-boundaries"
"""Intel's processors from Skylake to Cascade Lake decode a loop anew in each round if its branch ends on a boundary of
32 bytes: products of int8 were 12 % slower where chance had put it there. Old assemblers do not know this."""
ISA = "CREDITREE_ISA"
"""This environment variable names the instructions to use, one of `ISAS`; unset, all that the processor has."""
ISAS = {"native": "native", "avx512": "x86-64-v4", "avx2": "x86-64-v3"}
"""What the compiler calls them. Without instructions for bfloat16, it is widened in registers."""
_NEEDS = {"native": set[str](), "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}}
_SECONDS = 300
"""Compiling takes ten seconds of a processor; a busy machine may give it a tenth of one."""
_PROBE = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


class BuildError(Exception):
    """The compiler failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler and the first line of what it says of itself."""

    path: str
    version: str

    @property
    def own_flags(self) -> tuple[str, ...]:
        """Those that not every compiler knows."""
        return () if self._is_clang else GCC_FLAGS

    @property
    def wanted_flags(self) -> tuple[tuple[str, ...], ...]:
        """What to try beside them, best first: some compilers come without OpenMP, some assemblers are old."""
        branches = (WHOLE_BRANCHES if self._is_clang else f"-Wa,{WHOLE_BRANCHES}",)
        others = (branches, ()) if platform.machine().lower() in ("x86_64", "amd64") else ((),)
        return tuple((*threads, *other) for threads in (("-fopenmp",), ()) for other in others)

    @property
    def _is_clang(self) -> bool:
        return "clang" in self.version.lower()


def compiler_path() -> str | None:
    """Return the compiler that CXX names, or else the first one found."""
    names = [os.environ.get("CXX"), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


@cache
def compiler_at(path: str) -> Compiler:
    """Ask a compiler for its version. Raises BuildError for one that cannot say."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"the compiler '{path}' does not run ({_first_line(error)})") from None
    return Compiler(path, said.decode(errors="replace").partition("\n")[0].strip())


def digest_of(compiler: Compiler) -> str:
    """Return what names a library: its sources, the compiler with its flags, and the processor it is made for."""
    sources = {name: files(__package__).joinpath(name).read_bytes() for name in SOURCES}
    return hashlib.sha256(
        repr((sources, compiler.version, flags(), compiler.own_flags, compiler.wanted_flags, _processor())).encode()
    ).hexdigest()[:16]


def flags() -> tuple[str, ...]:
    """Return what every compiler is told. Raises ConfigError for instructions that are unknown or not there."""
    isa = os.environ.get(ISA) or "native"
    if isa not in ISAS:
        raise ConfigError(f"the environment variable {ISA} is '{isa}'; set {', '.join(ISAS)}, or none.")
    if not _NEEDS[isa] <= set(_processor().split()):
        raise ConfigError(f"the environment variable {ISA} is '{isa}', which this processor does not have; unset it.")
    return (*FLAGS, f"-march={ISAS[isa]}")


def build(compiler: Compiler, dtype: str, target: Path) -> None:
    """Compile the decoder for base weights of `dtype`, and try to load it in another process before it is kept.

    Raises BuildError. Where this process ends meanwhile, the compiler ends with it and its folder is removed.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=BUILDING, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for source in SOURCES:
            (folder / source).write_bytes(files(__package__).joinpath(source).read_bytes())
        made = folder / target.name
        told = [*flags(), *compiler.own_flags, f"-DKIND={KINDS[dtype]}"]
        command = [compiler.path, *told, str(folder / "decode.cpp"), "-o", str(made)]
        for wanted in compiler.wanted_flags:
            failure = _run([*command, *wanted], folder)
            if failure is None:
                break
        else:
            raise BuildError(f"the compiler '{compiler.path}' failed ({failure})")
        failure = _run([sys.executable, "-I", "-c", _PROBE, str(made)], folder)
        if failure is not None:
            raise BuildError(f"what the compiler '{compiler.path}' made cannot be loaded ({failure})")
        keep(made, target)


def _run(command: list[str], folder: Path) -> str | None:
    """Run a command to its end; return why it failed, or None. It does not outlive this process's end.

    It has a session of its own, as a compiler starts others: all of them are ended together.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def stop() -> None:
        _end(process)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)  # the thread that waits here is not waited for
    try:
        _, said = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        _end(process)
        process.communicate()
        return f"it took more than {_SECONDS} seconds"
    finally:
        atexit.unregister(stop)
    if process.returncode == 0:
        return None
    lines = said.decode(errors="replace").strip().splitlines()
    wanted = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    return wanted.strip() or f"exit code {process.returncode}"


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@cache
def _processor() -> str:
    """What -march=native depends on: a home directory may be shared by different machines."""
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = {line for line in processor_lines() if line.startswith(wanted)}
    return "\n".join(sorted(lines)) or f"{platform.machine()} {platform.processor()}"
