"""Paths that anybody may have named, and files that anybody may have put there: only regular ones are read."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

NO_NAME = "no file can have this name"
NO_FILE = "it is a pipe or a device, not a file"


def is_possible(path: Path | str) -> bool:
    """Return whether there can be a file of that name: without a NUL, and of characters that can be encoded."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def is_file(path: Path | str) -> bool:
    """Return whether a path is a file; one that no file can have is none: too long, with a NUL, not to be encoded.

    `Path.is_file`, `is_dir` and `exists` raise for names that are too long, and these for none.
    """
    return os.path.isfile(path)


def is_folder(path: Path | str) -> bool:
    """Return whether a path is a directory; one that none can have is none."""
    return os.path.isdir(path)


def is_there(path: Path | str) -> bool:
    """Return whether there is anything at a path, behind its links; at one that nothing can have there is nothing."""
    return os.path.exists(path)


def at_home(path: str) -> Path:
    """Return a path with the home directory in the place of its ``~``; one of a user that is not known as it is."""
    return Path(os.path.expanduser(path))


def opened(path: Path) -> BufferedReader:
    """Open a file, to be read.

    Raises OSError, also for a pipe (nobody may ever write to it), for a device, and for a name that no file can have.
    """
    if not is_possible(path):
        raise OSError(errno.EINVAL, NO_NAME, str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NO_FILE, str(path))
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def content(path: Path) -> bytes:
    """Return what a file holds. Raises OSError as `opened` does."""
    with opened(path) as file:
        return file.read()


def is_inside(name: str) -> bool:
    """Return whether a name that a file holds stays below the folder that it is relative to, as it is written."""
    return not (os.path.isabs(name) or ".." in name.split("/") or "\0" in name)
