"""Only regular files are read, and names that files hold stay inside."""

import os
from pathlib import Path

import pytest

from creditree.disk import at_home, content, is_file, is_folder, is_inside, is_possible, is_there, opened


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


@pytest.mark.parametrize("name", ["x" * 256, "x/" * 5000, "a\0b", "\ud800", ""])
def test_a_name_that_no_file_can_have_is_none(name: str) -> None:
    for path in (name, Path(name) if name else Path("nothing")):
        assert not is_file(path)
        assert not is_folder(path)
        assert not is_there(path)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_cannot_be_told_to_the_system_is_refused_like_a_file_that_is_missing(name: str) -> None:
    assert not is_possible(name)
    with pytest.raises(OSError, match="no file can have this name"):
        opened(Path(name))


def test_what_a_path_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    asked = {path: (is_file(path), is_folder(path), is_there(path)) for path in (tmp_path, *tmp_path.iterdir())}
    assert asked == {
        tmp_path: (False, True, True),
        tmp_path / "file": (True, False, True),
        tmp_path / "dangling": (False, False, False),
    }


def test_a_home_that_is_not_known_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert at_home("~/a") == Path("/home/me/a")
    assert at_home("~nobody-of-that-name/a") == Path("~nobody-of-that-name/a")


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
