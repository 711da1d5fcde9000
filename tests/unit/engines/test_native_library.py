"""What is compiled, where it is kept, whose code is loaded, and what is said where there is none."""

import _ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native import cache as cache_module
from creditree.engines.native import library as library_module
from creditree.engines.native.compiler import BuildError, Compiler, build, compiler_at, compiler_path
from creditree.engines.native.decoder import NativeDecoder
from creditree.engines.native.library import identity, library
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import tiny

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler here: torch decodes")


OTHERS = [name for name in ("g++-11", "g++-13", "clang++") if shutil.which(name)]
"""Compilers that users have beside the one that is found here first."""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Libraries are remembered for the life of a process; not in this test."""
    library_module.forget()
    yield
    library_module.forget()


@pytest.fixture
def copying(forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A compiler that notes each call and copies what the real one made before; returns its notes."""
    library("float32")
    (real,) = [one for one in cache_module.folder().path.glob("decode-float32-*.so") if library_digest() in one.name]
    notes, script = tmp_path / "calls", tmp_path / "c++"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo copier 1.0; exit; fi\necho called >> {notes}\n'
        f'while [ "$1" != -o ]; do shift; done\ncp {real} "$2"\n'
    )
    script.chmod(0o755)
    notes.touch()
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library_module.forget()
    return notes


def library_digest() -> str:
    return identity("float32")["library"]


def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "creditree" / "native"


def num_calls(notes: Path) -> int:
    return len(notes.read_text().splitlines())


def test_without_a_compiler_torch_decodes_and_says_so_once(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert library("float32") is None
    engine = InProcessEngine(tiny(dtype=torch.float32))
    assert not isinstance(engine._decoder(), NativeDecoder)
    asked = SampleRequest(token_array([7, 9]), (Key.of(1),), 3)
    assert engine.sample([asked], Sampling(1.0))[1].decoded > 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no C++ compiler" in caplog.text
    found = identity("float32")
    assert found["engine"] == "torch"
    assert "no C++ compiler" in found["why"]


def test_a_compiler_that_fails_is_no_error_and_its_reason_is_told(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "decode.cpp: error: no such header" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert library("float32") is None
    assert "no such header" in caplog.text
    assert list(kept(tmp_path).iterdir()) == []  # nothing half-made stays


def test_a_compiler_that_makes_nonsense_is_found_out_before_it_is_kept(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "c++"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\nwhile [ "$1" != -o ]; do shift; done\necho x > "$2"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert library("float32") is None
    assert "cannot be loaded" in caplog.text
    assert list(kept(tmp_path).iterdir()) == []


def test_a_compiler_that_takes_too_long_is_ended_with_all_that_it_started(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that it started holds its error stream: who ended the first alone would wait for the second."""
    script, number = tmp_path / "c++", tmp_path / "number"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\nsleep 3000 &\necho $! > {number}\nwait\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiler_at(str(script))
    monkeypatch.setattr("creditree.engines.native.compiler._SECONDS", 2)
    assert library("float32") is None
    assert "it took more than 2 seconds" in caplog.text
    deadline = time.monotonic() + 10
    while is_running(int(number.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(number.read_text()))


def is_running(process: int) -> bool:
    """Whether a process is there, and more than what its parent has not taken note of."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_compiler
@pytest.mark.parametrize("version", ["Debian clang version 14.0.6", "Apple clang version 16.0.0 (clang-1600.0.26.6)"])
def test_clang_is_told_nothing_that_only_gcc_knows(version: str, tmp_path: Path) -> None:
    """It ends with an error where it reads a flag of GCC's optimiser."""
    script, told = tmp_path / "clang++", tmp_path / "told"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit\necho "$@" >> {told}\nexit 1\n')
    script.chmod(0o755)
    with pytest.raises(BuildError, match="failed"):
        build(compiler_at(str(script)), "float32", tmp_path / "library.so")
    words = told.read_text().split()
    assert "-O3" in words
    assert not [word for word in words if word.startswith(("-fno-tree", "-ftree"))]


def test_gcc_keeps_sums_in_registers() -> None:
    assert {"-fno-tree-loop-distribute-patterns"} == set(Compiler("g++", "g++ (Ubuntu 11.4.0) 11.4.0").own_flags)


@pytest.mark.parametrize("unknown", ["-fopenmp", "branches-within-32B", "-fopenmp branches-within-32B"])
def test_what_a_compiler_does_not_know_is_left_out(unknown: str, tmp_path: Path) -> None:
    """A compiler without OpenMP, or with an assembler from before 2020. What it makes can be loaded: it is Python's."""
    script, told = tmp_path / "c++", tmp_path / "told"
    refused = "".join(f"*{word}*) exit 1;; " for word in unknown.split())
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {told}\ncase "$*" in {refused}esac\n'
        f'while [ "$1" != -o ] && [ $# -gt 0 ]; do shift; done\n[ -z "$2" ] || cp "{_ctypes.__file__}" "$2"\n'
    )
    script.chmod(0o755)
    build(compiler_at(str(script)), "float32", tmp_path / "library.so")
    last = told.read_text().splitlines()[-1]
    for flag in ("-fopenmp", *(["branches-within-32B"] if platform.machine() == "x86_64" else [])):
        assert (flag in last) == (flag not in unknown)


@pytest.mark.slow
@pytest.mark.skipif(not OTHERS, reason="no other C++ compiler here")
@pytest.mark.parametrize("name", OTHERS)
def test_other_compilers_make_a_decoder_with_the_same_numbers(
    name: str, forgotten: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To rounding, for each kind of base weights that has a library of its own."""
    for kind in (torch.float32, torch.float64, torch.bfloat16):
        asked = SampleRequest(token_array([7, 9]), tuple(Key.of(draw) for draw in range(6)), 8)
        found = []
        for compiler in (None, name):
            library_module.forget()
            if compiler is not None:
                monkeypatch.setenv("CXX", compiler)
                monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
            engine = InProcessEngine(tiny(dtype=kind))
            assert isinstance(engine._decoder(), NativeDecoder)
            found.append(engine.sample([asked], Sampling(1.0))[0][0])
        monkeypatch.undo()
        for ours, theirs in zip(*found, strict=True):
            assert ours.logprobs[0] == pytest.approx(theirs.logprobs[0], abs=1e-12 if kind == torch.float64 else 1e-2)


def test_what_was_compiled_is_kept_for_the_next_run_with_its_checksum(copying: Path, tmp_path: Path) -> None:
    assert library("float32") is not None
    made, checksum = sorted(kept(tmp_path).iterdir())
    assert checksum.read_text().strip() == hashlib.sha256(made.read_bytes()).hexdigest()
    assert stat.S_IMODE(kept(tmp_path).stat().st_mode) == 0o700
    assert identity("float32") == {"engine": "native", "library": made.stem.split("-")[-1], "compiler": "copier 1.0"}
    library_module.forget()
    assert library("float32") is not None
    assert num_calls(copying) == 1


@needs_compiler
@pytest.mark.parametrize("damage", ["half", "empty", "garbage", "no checksum"])
def test_a_damaged_library_is_compiled_again(copying: Path, tmp_path: Path, damage: str) -> None:
    library_module.library("float32")
    made, checksum = sorted(kept(tmp_path).iterdir())
    whole = made.read_bytes()
    library_module.forget()
    made.unlink()  # the test's own process has it mapped
    if damage == "no checksum":
        made.write_bytes(whole)
        checksum.unlink()
    else:
        made.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "garbage": b"\x00" * 4096}[damage])
    made.chmod(0o700)
    assert library("float32") is not None
    assert made.read_bytes() == whole
    assert num_calls(copying) == 2


@needs_compiler
def test_a_folder_that_others_may_write_is_not_trusted(
    copying: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library("float32")
    kept(tmp_path).chmod(0o777)
    library_module.forget()
    assert library("float32") is not None
    assert "can be written by other users" in caplog.text
    assert num_calls(copying) == 2  # for this process alone
    own = cache_module.folder().path
    assert own != kept(tmp_path)
    shutil.rmtree(own)


@needs_compiler
def test_a_library_of_another_user_or_a_link_is_not_loaded(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("float32")
    made, _ = sorted(kept(tmp_path).iterdir())
    assert cache_module.is_sound(made)
    elsewhere = tmp_path / "elsewhere.so"
    made.rename(elsewhere)
    made.symlink_to(elsewhere)
    assert not cache_module.is_sound(made)
    made.unlink()
    elsewhere.rename(made)
    monkeypatch.setattr(os, "geteuid", lambda: made.stat().st_uid + 1)
    assert "another user" in str(cache_module.distrust(made))
    assert not cache_module.is_sound(made)


@needs_compiler
def test_without_a_writable_home_one_folder_serves_the_whole_process(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library_module._prepared("float32")
    assert library("float32") is not None
    assert num_calls(copying) == 1
    assert "for this process alone" in caplog.text
    shutil.rmtree(cache_module.folder().path)


@needs_compiler
def test_what_killed_compilers_left_behind_is_removed(copying: Path, tmp_path: Path) -> None:
    old, fresh = (kept(tmp_path) / name for name in ("building-old", "building-fresh"))
    for one in (old, fresh):
        one.mkdir(parents=True, mode=0o700)
        (one / "decode.cpp").touch()
    kept(tmp_path).chmod(0o700)
    os.utime(old, (0, 0))
    library("float32")
    assert not old.exists()
    assert fresh.exists()


def test_the_switch_turns_it_off(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(library_module.SWITCH, "0")
    assert library("float32") is None
    assert identity("float32") == {"engine": "torch", "why": "CREDITREE_NATIVE is 0"}
    assert not caplog.records  # who turned it off knows
