import errno
import json
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs.atomic import StorageError, published, recover, remove, write_bytes, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_bytes_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old and long")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_write_json_refuses_nan_and_keeps_the_old_content(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_unwritable_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^Cannot write .*file/a: Not a directory; .* choose another run directory\.$"):
        write_bytes(tmp_path / "file" / "a", b"")


def test_half_a_file_does_not_stay_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"^Cannot write .*a: No space left on device; free it or"):
        write_bytes(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / ".partial-link").symlink_to(tmp_path / "kept")
    recover(tmp_path)
    remove(tmp_path / "absent")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["file"]


def test_published_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "best"
    for content in ("one", "two"):
        with published(target) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / content).write_text(content)
            assert target.exists() == (content == "two")
    assert names(target / "inner") == ["two"]
    assert names(tmp_path) == ["best"]


def test_published_keeps_the_old_folder_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "best"
    with published(target) as folder:
        (folder / "a").touch()
    with pytest.raises(ZeroDivisionError), published(target) as folder:
        (folder / "b").write_text(str(1 // 0))
    assert names(target) == ["a"]
    assert names(tmp_path) == ["best"]


def test_recover_finishes_or_undoes_a_replacement_and_removes_parts(tmp_path: Path) -> None:
    # Killed between the two renames: the old folder was set aside, the new one is not in place.
    (tmp_path / ".replaced-undone").mkdir()
    (tmp_path / ".partial-undone").mkdir()
    # Killed after the second rename: the new one is in place, the old one still there.
    (tmp_path / ".replaced-done").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "new").touch()
    (tmp_path / ".partial-metrics.jsonl").touch()
    recover(tmp_path)
    assert names(tmp_path) == ["done", "undone"]
    assert names(tmp_path / "done") == ["new"]
