"""A directory that one process at a time may write: its files are whole, have checksums, and are no links."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from creditree.disk import content, is_file, is_folder, is_possible, is_there
from creditree.errors import RunError
from creditree.runs import atomic
from creditree.runs.atomic import RUN_CURE, json_bytes, recover, remove, text_bytes, writing
from creditree.runs.checksums import CHECKSUMS, DIFFERENT, Checksums, seal
from creditree.runs.difference import describe_difference
from creditree.runs.lock import LOCK, RunLock
from creditree.runs.records import object_of, read_bytes, record_of, text_of
from creditree.text import shown

T = TypeVar("T")
OUT_CURE = "free it, or choose another directory with `out`"
CODE = "code.json"
"""Where it is described in what a directory was begun: versions and hardware."""


class HeldDirectory:
    """Holds the directory's lock from construction to `close`, or to the end of a ``with``; None: open to read only.

    Names are relative to the directory, with ``/`` between folders. What is written gets a checksum, and is compared
    with it when it is read.
    """

    CURE: ClassVar[str] = "choose another run, or make this one again"
    """What to do about a file that cannot be used."""
    SETTINGS: ClassVar[str] = ""
    """The file of the settings under which a directory is begun, and gone on with; "": there are none."""
    PARAMETER: ClassVar[str] = "`out`"
    """What names the directory."""
    PLACE: ClassVar[str] = "directory"
    """What was made under the settings, as sentences call it."""
    MADE: ClassVar[str] = "directory {path} was made with other settings"
    OTHERWISE: ClassVar[str] = "repeat it with the same ones, or choose another directory with `out`"
    """What to do where the settings are others; `{path}` stands for the directory."""
    WRITES: ClassVar[tuple[str, ...]] = ()
    """What is written beside the settings: where these are missing, it is somebody else's, and stays."""
    UNWRITABLE: ClassVar[str] = OUT_CURE
    """What to do where the directory cannot be written."""

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        self.path = path
        self.checksums = Checksums(path, self.UNWRITABLE)
        self._lock = lock

    @classmethod
    def open(cls, path: Path | str, settings_yaml: str = "") -> Self:
        """Begin in a new or empty directory, or go on in one that was begun under the same settings.

        Raises RunError where it was begun under others (the sentence names the keys and both values), holds something
        else, cannot be written, or is being written by another process.
        """
        path = Path(path)
        if cls.SETTINGS and is_file(path / "config.yaml"):
            raise RunError(f"Directory {path} holds a training run; choose another one with {cls.PARAMETER}.")
        cls._refuse_foreign(path)
        with claimed(path, cls.PARAMETER, cls.UNWRITABLE) as lock:
            if cls.SETTINGS:
                made, cure = cls.MADE.format(path=path), cls.OTHERWISE.format(path=path)
                begun = same_settings(path, cls.SETTINGS, settings_yaml, cls.PLACE, made, cure)
            else:
                recover(path)
                begun = True
            directory = cls(path, lock)
            directory._begin(settings_yaml, begun=begun)
            return directory

    @classmethod
    def _refuse_foreign(cls, path: Path) -> None:
        """Raise RunError for a directory that holds something else, before it is locked."""
        if cls.SETTINGS:
            refuse_folder(path / cls.SETTINGS)
        other = None if is_file(path / cls.SETTINGS) else occupied(path, cls.WRITES)
        if other is not None:
            raise RunError(
                f"Directory {path} holds {other} but no {cls.SETTINGS}, and it would be written over; move it away, or "
                f"choose another directory with {cls.PARAMETER}."
            )

    def _begin(self, settings_yaml: str, *, begun: bool) -> None:
        """Write what a directory begins with; `begun`: its settings are there, and are the same."""

    def close(self) -> None:
        """Let other processes write the directory. A second call does nothing."""
        if self._lock is not None:
            with suppress(RunError, OSError):
                self._lock.check()
                self.checksums.tidy()
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            with suppress(RunError, OSError):  # what went wrong first is what is to be told
                self._failed(error)
        self.close()

    def _failed(self, error: BaseException) -> None:
        """Make the directory free again, where nothing worth keeping was written before the error."""

    def writable(self, name: str = "") -> Path:
        """Return the path of a file or folder that is about to be written.

        Raises RunError where the directory is open to read only, where its lock is held no longer, and where the path
        is a link or leads through one: what it points to is not the directory's.
        """
        if self._lock is None:
            raise RunError(f"Run directory {self.path} is open for reading only; open it with create or resume.")
        self._lock.check()
        path = self.path / name
        for place in (path, *path.parents):
            if place == self.path:
                break
            refuse_link(place)
        return path

    def write_bytes(self, name: str, data: bytes, *, checked: bool = True) -> None:
        """Write a file, durably and whole. Raises RunError where it cannot be written.

        It gets a checksum, but for texts that people may edit (`checked` is False): settings.
        """
        path = self.writable(name)
        with writing(path, self.UNWRITABLE):
            path.parent.mkdir(parents=True, exist_ok=True)
        if checked:
            self.checksums.record(name, data)
        atomic.write_bytes(path, data, self.UNWRITABLE)

    def write_json(self, name: str, value: object, *, checked: bool = True) -> None:
        """Write a JSON file, such as ``summary.json``. Raises ValueError for NaN."""
        self.write_bytes(name, json_bytes(value), checked=checked)

    def write_text(self, name: str, text: str, *, checked: bool = True) -> None:
        """Write a text file, such as ``report.md``."""
        self.write_bytes(name, text_bytes(text), checked=checked)

    def read_bytes(self, name: str, cure: str = "") -> bytes:
        """Return the content of a file. Raises RunError where it is missing, damaged, or cannot be read."""
        data = read_bytes(self.path / name, cure or self.CURE)
        if not self.checksums.agrees(name, data):
            raise RunError(f"{self.path / name} {DIFFERENT}; {cure or self.CURE}.")
        return data

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a JSON file. Raises RunError where it is missing, damaged, or no JSON object."""
        return object_of(self.read_bytes(name), self.path / name, self.CURE)

    def read_record(self, name: str, kind: type[T]) -> T:
        """Return a JSON file as a dataclass, say. Raises RunError where it is missing, damaged, or of another shape."""
        return record_of(kind, self.read_json(name), self.path / name, self.CURE)

    def forget(self, *names: str) -> None:
        """Remove files, with their checksums, where they are there. Raises RunError where that is not possible."""
        with writing(self.path, self.UNWRITABLE):
            for name in names:
                remove(self.path / name)
        self.checksums.forget(names)

    @contextmanager
    def published(self, name: str) -> Iterator[Path]:
        """Give the block an empty folder; it becomes the folder `name`, with checksums inside, when the block succeeds.

        The checksums lie in the folder itself, so whoever copies it takes them along.
        """
        path = self.writable(name)
        with atomic.published(path, self.UNWRITABLE) as folder:
            yield folder
            seal(folder)


@contextmanager
def claimed(path: Path, option: str, cure: str = RUN_CURE) -> Iterator[RunLock]:
    """Make a directory where there is none, and give the block its lock, which is released where the block fails.

    A directory that was made here is removed where nothing was written into it until then.
    `option` is the one that named the directory. Raises RunError for a file, for a directory that another process is
    writing and, with the cure, for one that cannot be written.
    """
    if not is_possible(path):
        raise RunError(f"{option} is {shown(str(path))}, which no directory can be called; {cure}.")
    if is_there(path) and not is_folder(path):
        raise RunError(f"{option} {path} is a file; choose another directory.")
    made = not is_there(path)
    with writing(path, cure):
        path.mkdir(parents=True, exist_ok=True)
    lock = RunLock(path, cure, made=made)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def same_settings(path: Path, file: str, now: str, place: str, made: str, cure: str) -> bool:
    """Return whether the directory has settings already. Raises RunError where they are others than `now`.

    `place` is what was made with them, as the sentence calls it; `made` says so, and `cure` ends the sentence. What a
    killed writer left is removed first.
    """
    recover(path)
    if not is_file(path / file):
        refuse_link(path / file)
        return False
    before = settings_text(path / file, place)
    difference = describe_difference(before, now, place=place, file=file)
    if difference:
        raise RunError(f"The {made}: {difference}; {cure}.")
    return True


def settings_text(path: Path, place: str) -> str:
    """Return the text of a file of settings. Raises RunError where it cannot be read."""
    cure = f"choose another {place}"
    return text_of(read_bytes(path, cure), path, cure)


def refuse_folder(path: Path) -> None:
    """Raise RunError for a folder where a file belongs."""
    if is_folder(path):
        raise RunError(f"{path} is a folder, and a file is kept there; remove it.")


def refuse_link(path: Path) -> None:
    """Raise RunError where a path is a symbolic link: what is written or removed there lies elsewhere."""
    if path.is_symlink():
        raise RunError(f"{path} is a symbolic link, and a run is not written through one; put a folder or file there.")


def occupied(path: Path, names: Iterable[str]) -> str | None:
    """Return the first of the names in a directory that is there, and not left by a start that was cut short."""
    return next((name for name in names if os.path.lexists(path / name) and not _is_left(path / name)), None)


def _is_left(path: Path) -> bool:
    """Return whether a file is one that is written before the settings: the environment, and checksums of no file."""
    try:
        if path.name == CHECKSUMS:
            return not any(is_there(path.parent / name) for name in Checksums(path.parent).recorded())
        return path.name == CODE and b'"creditree"' in content(path)
    except (OSError, RunError):
        return False


def foreign(path: Path, own: frozenset[str]) -> str | None:
    """Return the name of the first entry of a directory that is no lock, and no leftover of writing one of `own`."""
    ours = {LOCK, CHECKSUMS, *(atomic.PARTIAL + name for name in {CHECKSUMS, *own})}
    return next((entry.name for entry in sorted(path.iterdir()) if entry.name not in ours), None)
