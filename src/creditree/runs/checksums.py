"""Checksums of files: ``creditree.sha256`` holds a line a file, as ``sha256sum`` writes and checks them."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from creditree.disk import content, is_file, is_inside, is_there, opened
from creditree.errors import RunError
from creditree.runs.atomic import RUN_CURE, remove, write_bytes, write_synced, writing
from creditree.text import shown

CHECKSUMS = "creditree.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class Checksums:
    """The checksums of the files below a folder.

    A line is on the disk before its file is, so a crash between the two leaves a file that agrees with an earlier line
    of its name: every line of a name counts. A file without a line is not checked: it is from elsewhere, or older.
    """

    def __init__(self, folder: Path, cure: str = RUN_CURE) -> None:
        """`cure`: what to do where the folder cannot be written."""
        self.folder = folder
        self._cure = cure
        self.path = folder / CHECKSUMS

    def record(self, name: str, data: bytes) -> None:
        """Add the checksum of what the file `name` is about to hold. Raises RunError where it cannot be written."""
        line = f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode(errors="backslashreplace")
        with writing(self.folder / name, self._cure), self.path.open("ab+") as file:
            end = _whole_lines(file.seek(0, os.SEEK_END), file.fileno())
            try:
                file.truncate(end)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.truncate(self.path, end)
                raise

    def forget(self, names: Iterable[str]) -> None:
        """Drop the lines of files that are removed, with the last of them the file. Raises RunError where it cannot."""
        gone = set(names)
        if is_there(self.path) and gone & self.recorded().keys():
            self._write([line for line in self._lines() if line[1] not in gone])

    def tidy(self) -> None:
        """Keep of each name only the line that its file agrees with, so that ``sha256sum -c`` does too."""
        lines = self._lines()
        kept = list(dict.fromkeys(lines))
        for name in (name for name, count in Counter(name for _, name in kept).items() if count > 1):
            with (self.folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if (digest, name) in kept:
                kept = [line for line in kept if line[1] != name or line[0] == digest]
        if kept != lines:
            self._write(kept)

    def recorded(self) -> dict[str, set[str]]:
        """Return the checksums of each name. Raises RunError for a file of checksums that is none."""
        digests: dict[str, set[str]] = {}
        for digest, name in self._lines():
            digests.setdefault(name, set()).add(digest)
        return digests

    def damage(self, name: str) -> str:
        """Return what is wrong with a file, in words: "" where it is as it was written, or has no checksum."""
        digests = self.recorded().get(name)
        if digests is None:
            return ""
        try:
            with opened(self.folder / name) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if digest in digests else DIFFERENT

    def agrees(self, name: str, data: bytes) -> bool:
        """Return whether `data` is what the file `name` was written with, or the name has no checksum."""
        digests = self.recorded().get(name)
        return digests is None or hashlib.sha256(data).hexdigest() in digests

    def damages(self, prefixes: tuple[str, ...] = ("",)) -> dict[str, str]:
        """Return what is wrong with each damaged or missing file whose name begins with one of `prefixes`."""
        names = [name for name in self.recorded() if name.startswith(prefixes)]
        return {name: words for name in names if (words := self.damage(name))}

    def _write(self, lines: Sequence[tuple[str, str]]) -> None:
        if not lines:
            with writing(self.path, self._cure):
                remove(self.path)
        else:
            write_bytes(self.path, "".join(f"{digest}  {name}\n" for digest, name in lines).encode(), self._cure)

    def _lines(self) -> list[tuple[str, str]]:
        try:
            text = content(self.path).decode()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise RunError(f"Cannot read {self.path}: {reason}; {_UNCHECKED}.") from error
        entries = []
        for number, line in enumerate(text.split("\n")[:-1], start=1):  # what is behind the last line break is torn
            match = _LINE.fullmatch(line)
            if match is None:
                raise RunError(f"{self.path} line {number} is no checksum; {_UNCHECKED}.")
            if not is_inside(match[2]):
                raise RunError(
                    f"{self.path} line {number} names {shown(match[2])}, which lies elsewhere; {_UNCHECKED}."
                )
            entries.append((match[1], match[2]))
        return entries


DIFFERENT = "has another content than when it was written (its sha256 is not the one in creditree.sha256)"
_UNCHECKED = "remove it, and the files beside it are read unchecked"


def seal(folder: Path) -> None:
    """Write the checksums of the files of a folder that is not published yet. Raises OSError."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if is_file(path) and path.suffix != ".md":  # a model card is edited before it is shared
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    write_synced(folder / CHECKSUMS, "".join(lines).encode())


def check_sealed(folder: Path, cure: str) -> None:
    """Raise RunError, which ends with the cure, where a file of a sealed folder is damaged or missing.

    The checksums were written whole: where there are none, or the last line is cut, they are damaged themselves.
    """
    sums = folder / CHECKSUMS
    if is_file(sums) and not content(sums).endswith(b"\n"):
        raise RunError(f"{sums} is empty or cut off; {_UNCHECKED}.")
    for name, words in Checksums(folder).damages().items():
        raise RunError(f"{folder / name} {words}; {cure}.")


def _whole_lines(size: int, descriptor: int) -> int:
    """Return where the last whole line of a file ends: a crash may have torn the one after it."""
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1
