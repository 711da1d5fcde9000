"""What the cores can do at most: bytes read from memory and float32 operations a second."""

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from creditree.engines.native.compiler import compiler_path, flags

HERE = Path(__file__).resolve().parent


class Peaks:
    """What the cores can do at most, with the instructions that the decoder uses."""

    def __init__(self, cache: Path, threads: int, weight_bytes: int) -> None:
        self._code = _compiled(cache)
        self._block = np.ones(weight_bytes, dtype=np.uint8)
        self._threads = threads

    def read_gb_per_s(self) -> float:
        """Read a block of memory as large as the weights."""
        seconds = self._code.read_seconds(self._block.ctypes.data, len(self._block), self._threads)
        return float(len(self._block) / seconds / 1e9)

    def gflop_per_s(self) -> float:
        """Multiply and add in registers."""
        return float(self._code.float_operations(self._threads) / 1e9)


@cache
def _compiled(folder: Path) -> Any:
    compiler = compiler_path()
    if compiler is None:
        raise SystemExit("There is no C++ compiler: install g++ or clang++.")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"peaks-{os.getpid()}.so"
    sources = HERE.parent / "src" / "creditree" / "engines" / "native"
    command = [compiler, *flags(), "-fopenmp", f"-I{sources}", str(HERE / "machine_peaks.cpp"), "-o", str(target)]
    subprocess.run(command, check=True)
    code = ctypes.CDLL(str(target))
    target.unlink()
    code.read_seconds.restype = code.float_operations.restype = ctypes.c_double
    code.read_seconds.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    return code
