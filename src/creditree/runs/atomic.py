"""Writing so that a crash at any moment leaves the old content or the new, never a part of it (POSIX rename)."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from creditree.errors import RunError
from creditree.text import json_escaped

_PARTIAL = ".partial-"
_REPLACED = ".replaced-"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunError that names `path` and the cause."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise RunError(f"Cannot write {path}: {cause}; free it or choose another run directory.") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, durably. Raises RunError where the file cannot be written."""
    partial = path.with_name(_PARTIAL + path.name)
    with writing(path):
        write_synced(partial, data)
        os.replace(partial, path)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` by `text` in UTF-8, durably. Raises RunError where the file cannot be written."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Replace the content of `path` by `value` as indented JSON, durably.

    Raises RunError where the file cannot be written, and ValueError for NaN and infinity, which JSON does not have.
    """
    write_text(path, json_escaped(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n")


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give the block an empty folder, which becomes `path` when the block ends without an error.

    A folder that is already there is replaced; `recover` finishes a replacement that was cut short. Raises RunError
    where the folder cannot be written.
    """
    partial = path.with_name(_PARTIAL + path.name)
    with writing(path):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    try:
        with writing(path):
            yield partial
            _sync_all(partial)
            _replace_folder(partial, path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def recover(folder: Path) -> None:
    """Remove what a crashed writer left in `folder`, and finish or undo the replacement of a folder.

    Only the process that holds the run may call this: to another one, work in progress looks like a leftover.
    """
    with writing(folder):
        for old in sorted(folder.glob(f"{_REPLACED}*")):
            target = old.with_name(old.name.removeprefix(_REPLACED))
            if target.exists():
                shutil.rmtree(old)
            else:
                old.rename(target)
        for partial in sorted(folder.glob(f"{_PARTIAL}*")):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it. Not atomic: for files of a folder that is not published yet."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_folder(partial: Path, path: Path) -> None:
    old = path.with_name(_REPLACED + path.name)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    if old.exists():
        shutil.rmtree(old)


def _sync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
