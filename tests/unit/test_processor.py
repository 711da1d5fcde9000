"""What is read of the system's word on the processor."""

from pathlib import Path

import pytest

from creditree import processor
from creditree.processor import instruction_sets, processor_lines, processor_name

multiplies = processor.multiplies_bfloat16.__wrapped__
"""Without its memory, which is for the life of a process."""


def told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: A bf16 chip\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("model name\t: Intel\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("model name\t: Intel\nflags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\nCPU part\t: 0xd40\n", True),
        ("Features\t: fp asimd\nCPU part\t: 0xd0c\n", False),
    ],
)
def test_instructions_for_bfloat16(text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(text, tmp_path, monkeypatch)
    assert multiplies() is expected
    assert "fp" in instruction_sets() or "fpu" in instruction_sets()


def test_the_name_is_the_first_core_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told("processor: 0\nmodel name\t: Some: chip\nprocessor: 1\nmodel name\t: Other\n", tmp_path, monkeypatch)
    assert processor_name() == "Some: chip"


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert processor_lines() == []
    assert processor_name() == "arm64"
    assert not instruction_sets()
    assert not multiplies()
