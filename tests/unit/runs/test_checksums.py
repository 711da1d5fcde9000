"""Checksums of files: written before the files, in sha256sum's own form, and compared when they are read."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs.atomic import write_bytes
from creditree.runs.checksums import Checksums, check_sealed, seal
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock


def test_a_line_is_what_sha256sum_writes(tmp_path: Path) -> None:
    with HeldDirectory(tmp_path, RunLock(tmp_path)) as held:
        held.write_text("a.txt", "one")
        held.write_text("b/c.txt", "two")
        held.write_text("a.txt", "three")
    # The older line of a.txt is dropped when the directory is closed.
    three, two = (hashlib.sha256(text).hexdigest() for text in (b"three", b"two"))
    assert (tmp_path / "creditree.sha256").read_text() == f"{two}  b/c.txt\n{three}  a.txt\n"
    subprocess.run(["sha256sum", "--check", "--quiet", "creditree.sha256"], cwd=tmp_path, check=True)


def test_a_crash_between_line_and_file_leaves_the_old_file_good(tmp_path: Path) -> None:
    sums = Checksums(tmp_path)
    sums.record("a", b"old")
    write_bytes(tmp_path / "a", b"old")
    sums.record("a", b"new")
    assert sums.damages() == {}
    write_bytes(tmp_path / "a", b"new")
    assert sums.damages() == {}
    (tmp_path / "a").write_bytes(b"neu")
    assert "has another content" in sums.damages()["a"]
    sums.forget(["a"])
    assert sums.damages() == {}
    assert not sums.path.exists()  # the last line was that of a


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_a_torn_last_line_is_left_out_and_written_over(tmp_path: Path, cut: int) -> None:
    sums = Checksums(tmp_path)
    sums.record("a", b"1")
    sums.record("b", b"2")
    data = sums.path.read_bytes()
    sums.path.write_bytes(data[:-cut] if cut < len(data) // 2 else data)
    assert "a" in sums.recorded()
    sums.record("c", b"3")
    assert {"a", "c"} <= set(sums.recorded())


@pytest.mark.parametrize(("text", "words"), [(b"nonsense\n", "line 1 is no checksum"), (b"\xff\n", "not UTF-8 text")])
def test_checksums_that_are_none_say_what_to_do(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "creditree.sha256").write_bytes(text)
    with pytest.raises(RunError, match=f"{words}.*remove it, and the files beside it are read unchecked"):
        Checksums(tmp_path).recorded()


def test_a_folder_that_is_copied_brings_its_checksums(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "weights.safetensors").write_bytes(b"12345678")
    (tmp_path / "README.md").write_text("a card")
    seal(tmp_path)
    (tmp_path / "README.md").write_text("an edited card")
    check_sealed(tmp_path, "copy it again")
    (tmp_path / "inner" / "weights.safetensors").write_bytes(b"12345679")
    with pytest.raises(RunError, match=r"weights\.safetensors has another content .*; copy it again\.$"):
        check_sealed(tmp_path, "copy it again")
    (tmp_path / "inner" / "weights.safetensors").unlink()
    with pytest.raises(RunError, match="cannot be read: No such file or directory; copy it again"):
        check_sealed(tmp_path, "copy it again")


@pytest.mark.parametrize("left", [0, 40])
def test_checksums_of_a_folder_that_are_cut_are_no_leave_to_read_unchecked(left: int, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"12345678")
    seal(tmp_path)
    sums = tmp_path / "creditree.sha256"
    sums.write_bytes(sums.read_bytes()[:left])
    with pytest.raises(RunError, match="is empty or cut off; remove it, and the files beside it are read unchecked"):
        check_sealed(tmp_path, "copy it again")


@pytest.mark.parametrize("name", ["../outside", "/dev/zero", "rollouts/../../outside"])
def test_a_name_that_leads_elsewhere_is_not_followed(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "creditree.sha256").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(RunError, match=f"line 1 names '{name}', which lies elsewhere; remove it"):
        Checksums(folder).damages()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    Checksums(tmp_path).record("summary.json", b"{}")
    os.mkfifo(tmp_path / "summary.json")
    assert Checksums(tmp_path).damages() == {"summary.json": "cannot be read: it is a pipe or a device, not a file"}
    with HeldDirectory(tmp_path, None) as held, pytest.raises(RunError, match="it is a pipe or a device, not a file"):
        held.read_json("summary.json")
