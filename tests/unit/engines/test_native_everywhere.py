"""Native products of all kinds of weights with the vectors of every kind of processor that can be tried here."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import creditree.engines.native as native
from creditree.engines.native.compiler import FLAGS, compiler_at, compiler_path

HERE, SOURCES = Path(__file__).resolve().parent, Path(next(iter(native.__path__)))
ARM, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64-static")
MARCH = {
    "x86-64": set[str](),
    "sandybridge": {"avx"},
    "x86-64-v3": {"avx2", "fma"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}
"""Vectors of 16, 32, 32 with products that are fused, and 64 bytes; and what of a processor each needs."""
pytestmark = pytest.mark.slow


def made(compiler: str, more: list[str], folder: Path) -> str:
    program = folder / "products"
    flags = [flag for flag in FLAGS if flag not in ("-fPIC", "-shared")]
    own = compiler_at(compiler).own_flags
    source = str(HERE / "products.cpp")
    subprocess.run([compiler, *flags, *own, *more, f"-I{SOURCES}", source, "-o", str(program)], check=True)
    return str(program)


def compiler_for(march: str) -> str:
    if platform.machine() != "x86_64":
        pytest.skip("these are vectors of x86")
    if not MARCH[march] <= set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split()):
        pytest.skip(f"this processor is no {march}")
    compiler = compiler_path()
    if compiler is None:
        pytest.skip("no C++ compiler here: torch decodes")
    return compiler


def check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("march", MARCH)
def test_products_are_exact_sums_and_a_row_alone_has_the_same_bits(march: str, tmp_path: Path) -> None:
    """84,448 sums for each kind of weights, to 1e-6 of their terms; sizes that no vector, block or tile divides."""
    check([made(compiler_for(march), [f"-march={march}"], tmp_path)])


@pytest.mark.parametrize("march", ["x86-64-v3", "x86-64-v4"])
def test_products_touch_nothing_beyond_their_arrays(march: str, tmp_path: Path) -> None:
    """What C++ leaves undefined ends the program too."""
    check([made(compiler_for(march), [f"-march={march}", "-O1", "-fsanitize=address,undefined"], tmp_path)])


@pytest.mark.skipif(
    ARM is None or EMULATOR is None, reason="no compiler for ARM here, or nothing that runs its programs"
)
def test_products_on_arm(tmp_path: Path) -> None:
    assert ARM is not None
    assert EMULATOR is not None
    check([EMULATOR, made(ARM, ["-static"], tmp_path)])
