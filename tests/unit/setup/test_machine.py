"""What the machine is said to offer, and what this process is said to have held."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from creditree import processor
from creditree.engines.native import library
from creditree.models.shapes import PUBLIC_SHAPES, Shape
from creditree.setup import machine
from creditree.setup.machine import SHARE, default_device, fastest_precision, peak_memory, usable_memory

LAYERED = PUBLIC_SHAPES["Qwen/Qwen2-0.5B"]
WHOLE = replace(LAYERED, whole="it is not of the family", counted=270_000_000)
LATE = 10_000_000
"""The system counts pages a little late."""


def test_usable_memory_is_a_part_of_what_is_there() -> None:
    assert 0 < usable_memory("cpu") <= SHARE * psutil.virtual_memory().total


def test_the_limit_of_a_container_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_GROUP_LIMITS", (limit, tmp_path / "none"))
    limit.write_text("50000000\n")
    assert usable_memory("cpu") == 40_000_000
    limit.write_text("max\n")
    assert usable_memory("cpu") > 40_000_000


def test_the_peak_is_at_least_what_was_held_and_stays_when_it_is_freed() -> None:
    held = np.ones(8_000_000)  # 64 MB, written, so resident
    resident = psutil.Process().memory_info().rss
    assert held.sum() == 8_000_000
    assert peak_memory("cpu") >= max(held.nbytes, resident - LATE)
    before = peak_memory("cpu")
    del held
    assert peak_memory("cpu") >= before - LATE
    assert peak_memory("cpu") < psutil.virtual_memory().total


def test_without_the_file_of_the_system_the_resident_size_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_peak_resident", lambda: 0)
    assert peak_memory("cpu") > 1_000_000


def test_the_device_is_one_that_torch_has() -> None:
    assert default_device() in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("flags", "native", "shape", "device", "expected"),
    [
        ("avx2", True, LAYERED, "cpu", "bfloat16"),
        ("avx2 avx512_bf16", False, LAYERED, "cpu", "bfloat16"),
        ("avx2", False, LAYERED, "cpu", "float32"),
        ("avx2", True, WHOLE, "cpu", "float32"),  # native code does not run it
        ("avx2 avx512_bf16", True, WHOLE, "cpu", "bfloat16"),
        ("avx2", True, replace(WHOLE, counted=10**9), "cpu", "float32"),
        ("avx2", True, replace(WHOLE, counted=10**9 + 1), "cpu", "bfloat16"),
        ("avx2", False, WHOLE, "cuda:1", "bfloat16"),
    ],
)
def test_bfloat16_is_fastest_unless_torch_has_to_emulate_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    native: bool,
    shape: Shape,
    device: str,
    expected: str,
) -> None:
    monkeypatch.setattr(machine, "usable_memory", lambda device: 8 * 10**9)
    (tmp_path / "cpuinfo").write_text(f"model name: bfloat16 maker\nflags: fpu {flags}\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "multiplies_bfloat16", processor.multiplies_bfloat16.__wrapped__)
    monkeypatch.setenv(library.SWITCH, "1" if native else "0")
    monkeypatch.setattr(library, "compiler_path", lambda: "/usr/bin/c++")
    assert fastest_precision(device, shape).dtype == expected
