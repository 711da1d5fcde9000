"""What the cores can do at most: bytes read from memory and float32 operations a second."""

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np

from creditree.engines.native.compiler import compiler_path, flags

HERE = Path(__file__).resolve().parent


class Peaks:
    """What the cores can do at most, with the instructions that the decoder uses."""

    def __init__(self, cache: Path, threads: int, weight_bytes: int) -> None:
        compiler = compiler_path()
        if compiler is None:
            raise SystemExit("There is no C++ compiler: install g++ or clang++.")
        cache.mkdir(parents=True, exist_ok=True)
        target = cache / f"peaks-{os.getpid()}.so"
        sources = HERE.parent / "src" / "creditree" / "engines" / "native"
        command = [compiler, *flags(), "-fopenmp", f"-I{sources}", str(HERE / "machine_peaks.cpp"), "-o", str(target)]
        subprocess.run(command, check=True)
        self._code = ctypes.CDLL(str(target))
        target.unlink()
        self._code.read_seconds.restype = self._code.float_operations.restype = ctypes.c_double
        self._code.read_seconds.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
        self._block = np.ones(weight_bytes, dtype=np.uint8)
        self._threads = threads

    def read_gb_per_s(self) -> float:
        """Read a block of memory as large as the weights."""
        seconds = self._code.read_seconds(self._block.ctypes.data, len(self._block), self._threads)
        return float(len(self._block) / seconds / 1e9)

    def gflop_per_s(self) -> float:
        """Multiply and add in registers."""
        return float(self._code.float_operations(self._threads) / 1e9)
