"""One writer for a run directory: an advisory lock that the system releases when the process ends, however it ends."""

import errno
import fcntl
import os
from pathlib import Path

from creditree.errors import RunError
from creditree.runs.atomic import writing

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class RunLock:
    """Holds ``folder/.lock`` from construction to `release`.

    A record lock (`lockf`), not `flock`: forked workers that outlive a killed run do not inherit it. It guards against
    other processes, not against a second writer inside this one. A file system without locks is used unguarded.
    """

    def __init__(self, folder: Path) -> None:
        """Raises RunError where another process writes this run, or the folder cannot be written."""
        path = folder / ".lock"
        with writing(path):
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise RunError(
                f"Run directory {folder} is being written by another process (id {holder}); "
                "wait until it ends, or choose another directory."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let other processes write. A second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
