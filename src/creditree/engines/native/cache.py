"""Where compiled libraries are kept: only what this user wrote, whole, is ever loaded."""

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BUILDING = "building-"
"""Before the name of a folder in which a compiler works."""
_ABANDONED_S = 600.0
"""A folder of a compiler that nobody has touched for so long is a killed one's: compiling is stopped after 300 s."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where libraries are kept; `refused`: why this is a temporary folder of this process and not the cache."""

    path: Path
    refused: str | None = None


@cache
def folder() -> Folder:
    """Return the cache, or else one temporary folder for this process, removed at its end."""
    path: Path | None = None
    try:
        base = os.environ.get("XDG_CACHE_HOME")
        path = (Path(base) if base else Path.home() / ".cache") / "creditree" / "native"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        refused = distrust(path)
        if refused is None and not os.access(path, os.W_OK | os.X_OK):
            refused = f"the cache '{path}' cannot be written"
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        refused = f"the cache '{path or '~/.cache'}' cannot be used ({reason})"
    if refused is None and path is not None:
        _remove_abandoned(path)
        return Folder(path)
    temporary = Path(tempfile.mkdtemp(prefix="creditree-native-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return Folder(temporary, refused)


def distrust(path: Path) -> str | None:
    """Return why code in `path`, a file or a folder, may be somebody else's, or None: it is this user's alone."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"'{path}' is a symbolic link, and code that is loaded must not be"
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid != os.geteuid():
        return f"'{path}' belongs to another user, whose code is not loaded"
    if status.st_mode & 0o022:
        return f"'{path}' can be written by other users, so it is not loaded (chmod go-w it, or remove it)"
    return None


def is_sound(library: Path) -> bool:
    """Return whether a library is this user's and, byte for byte, what `keep` wrote."""
    try:
        if distrust(library) is not None:
            return False
        return _checksum(library).read_text(encoding="ascii").strip() == _sha256(library)
    except (OSError, ValueError):
        return False


def keep(made: Path, target: Path) -> None:
    """Put a library that was made on the same disk in its place, with its checksum; both outlive a power cut."""
    made.chmod(0o700)
    checksum = made.with_name(made.name + ".sha256")
    checksum.write_text(_sha256(made) + "\n", encoding="ascii")
    checksum.chmod(0o600)
    for path in (made, checksum):
        _to_disk(path)
    # a library without its checksum is built again, so the checksum may come first or last
    made.replace(target)
    checksum.replace(_checksum(target))
    _to_disk(target.parent)


def _checksum(library: Path) -> Path:
    return library.with_name(library.name + ".sha256")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _to_disk(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed compilers left behind. Others may do the same at the same time."""
    with contextlib.suppress(OSError):
        for entry in path.iterdir():
            abandoned = entry.name.startswith((BUILDING, "tmp")) and entry.is_dir()
            if abandoned and time.time() - entry.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(entry, ignore_errors=True)
