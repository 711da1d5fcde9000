"""Files that anybody may have put there: only regular ones are read."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

NO_FILE = "it is a pipe or a device, not a file"


def opened(path: Path) -> BufferedReader:
    """Open a file, to be read. Raises OSError, also for a pipe (nobody may ever write to it) and for a device."""
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
