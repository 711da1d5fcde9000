"""One writer for a run directory: an advisory lock that the system releases when the process ends, however it ends."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from creditree.errors import RunError
from creditree.runs.atomic import RUN_CURE, writing

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}

_Identity = tuple[int, int]


class RunLock:
    """Holds ``folder/.lock`` from construction to `release`.

    A record lock (`lockf`), not `flock`: forked workers that outlive a killed run do not inherit it. It guards against
    other processes, not against a second writer inside this one. A file system without locks is used unguarded.

    The lock belongs to the file, not to its name: where somebody removes the name ("a stale lock"), the next process
    would lock another file. So whoever writes asks `check` first.
    """

    def __init__(self, folder: Path, cure: str = RUN_CURE, *, made: bool = False) -> None:
        """Raises RunError where another process writes this run, or, with the cure, where it cannot be written.

        `made`: the folder was made for this lock, so that `release` removes it where nothing was written into it.
        """
        self.folder = folder
        self._cure = cure
        self._made = made
        self._process = os.getpid()
        self._descriptor: int | None = None
        self._identity: _Identity = (0, 0)
        self._take(os.O_CREAT)

    def check(self) -> None:
        """Raise RunError where this process does not hold the folder's lock any more; call it before each write.

        A lock file that was removed is made again, where no other process has locked one of its own meanwhile.
        """
        if self._process != os.getpid():
            raise RunError(
                f"Run directory {self.folder} is being written by the process that this one was forked from; only that "
                "one may go on."
            )
        locked, named = self._held(), _identity(self.folder / LOCK)
        if locked == named == self._identity:
            return
        if named is not None and named != self._identity:
            raise self._lost()
        before = self._descriptor if locked == self._identity else None
        try:
            self._take(os.O_CREAT | os.O_EXCL if named is None else 0)
        except RunError as error:
            raise self._lost() from error
        if before is not None:
            os.close(before)

    def release(self) -> None:
        """Let other processes write. A second call does nothing."""
        if self._descriptor is not None:
            if self._made and self._process == os.getpid():
                self._remove_empty()
            os.close(self._descriptor)
            self._descriptor = None

    def _remove_empty(self) -> None:
        with suppress(OSError):
            if os.listdir(self.folder) == [LOCK] and _identity(self.folder / LOCK) == self._identity:
                os.unlink(self.folder / LOCK)
                os.rmdir(self.folder)

    def _take(self, how: int) -> None:
        path = self.folder / LOCK
        with writing(path, self._cure):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | how, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise RunError(
                    f"Run directory {self.folder} is being written by another process (id {holder}); "
                    "wait until it ends, or choose another directory."
                ) from error
        try:
            with writing(path, self._cure):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._identity = descriptor, (status.st_dev, status.st_ino)

    def _held(self) -> _Identity | None:
        try:
            status = os.fstat(-1 if self._descriptor is None else self._descriptor)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _lost(self) -> RunError:
        return RunError(
            f"The lock of run directory {self.folder} was removed while this process wrote it, and another process may "
            "write it now; this one stops here: continue with `resume` once no other runs, and leave .lock alone."
        )


def _identity(path: Path) -> _Identity | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino
