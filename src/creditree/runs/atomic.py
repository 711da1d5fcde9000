"""Writing so that a crash at any moment leaves the old content or the new, never a part of it (POSIX rename)."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from creditree.disk import is_folder, is_there
from creditree.errors import RunError
from creditree.text import json_escaped

PARTIAL = ".partial-"
_REPLACED = ".replaced-"
RUN_CURE = "free it or choose another run directory"
"""What to do about what cannot be written in a run directory."""
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


class StorageError(RunError):
    """Storage that is full, broken or read-only: the next directory on it could not be written either."""


@contextmanager
def writing(path: Path, cure: str = RUN_CURE) -> Iterator[None]:
    """Turn an OSError of the block into a RunError that names `path` and the cause, and ends with the cure."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        kind = StorageError if error.errno in _STORAGE else RunError
        raise kind(f"Cannot write {path}: {cause}; {cure}.") from error


def write_bytes(path: Path, data: bytes, cure: str = RUN_CURE) -> None:
    """Replace the content of `path` by `data`, durably. Raises RunError, with the cure, where it cannot be written."""
    partial = path.with_name(PARTIAL + path.name)
    with writing(path, cure):
        try:
            write_synced(partial, data)
            os.replace(partial, path)
        except BaseException:
            # Where the disk is full, half a file would take the room that is missing.
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def text_bytes(text: str) -> bytes:
    """Return `text` in UTF-8; a lone surrogate, which UTF-8 does not have, as the escape that JSON has for it."""
    return text.encode(errors="backslashreplace")


def json_bytes(value: object) -> bytes:
    """Return `value` as indented JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    return text_bytes(json_escaped(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n")


def write_text(path: Path, text: str, cure: str = RUN_CURE) -> None:
    """Replace the content of `path` by `text` in UTF-8, durably. Raises RunError, with the cure, where it cannot be."""
    write_bytes(path, text_bytes(text), cure)


def write_json(path: Path, value: object) -> None:
    """Replace the content of `path` by `value` as indented JSON, durably.

    Raises RunError where the file cannot be written, and ValueError for NaN and infinity, which JSON does not have.
    """
    write_bytes(path, json_bytes(value))


@contextmanager
def published(path: Path, cure: str = RUN_CURE) -> Iterator[Path]:
    """Give the block an empty folder, which becomes `path` when the block ends without an error.

    A folder that is already there is replaced; `recover` finishes a replacement that was cut short. Raises RunError,
    with the cure, where the folder cannot be written.
    """
    partial = path.with_name(PARTIAL + path.name)
    with writing(path, cure):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    try:
        with writing(path, cure):
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
            if is_there(target):
                remove(old)
            else:
                old.rename(target)
        for partial in sorted(folder.glob(f"{PARTIAL}*")):
            remove(partial)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, but never what a link points to. Raises OSError."""
    if is_folder(path) and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
    if os.path.lexists(path):
        path.rename(old)
    partial.rename(path)
    if os.path.lexists(old):
        remove(old)


def _sync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if is_folder(path):
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
