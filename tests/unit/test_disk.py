"""Only regular files are read, and names that files hold stay inside."""

import os
from pathlib import Path

import pytest

from creditree.disk import content, is_inside, opened


def test_a_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert content(tmp_path / "link") == b"content"
    with opened(tmp_path / "file") as file:
        assert file.read(3) == b"con"


def test_what_would_be_waited_for_or_has_no_end_is_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
            content(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        content(tmp_path)
    with pytest.raises(FileNotFoundError):
        content(tmp_path / "nothing")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="not a file"):
            opened(tmp_path / "pipe")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["a", "a/b.txt", "a..b", "..a/b", ".hidden", "T=0.3/x:y"])
def test_names_inside(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize("name", ["/etc/passwd", "..", "../a", "a/../../b", "a\0b"])
def test_names_that_lead_out(name: str) -> None:
    assert not is_inside(name)
