"""A directory that one process at a time may write, and the JSON files in such directories."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from creditree.errors import RunError
from creditree.runs.lock import RunLock


class HeldDirectory:
    """Holds the directory's lock from construction to `close`, or to the end of a ``with``; None: open to read only."""

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Let other processes write the directory. A second call does nothing."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._failed(error)
        self.close()

    def _failed(self, error: BaseException) -> None:
        """Make the directory free again, where nothing worth keeping was written before the error."""


def read_object(path: Path, cure: str) -> dict[str, Any]:
    """Return the JSON object in a file. Raises RunError, which ends with the cure, where it is missing or none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"Cannot read {path}: {error}; {cure}.") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); {cure}.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object; {cure}.")
    return value
