"""Standard output and error, which may go away under a command."""

import os
import sys
from contextlib import suppress
from typing import Any, Literal

LOST = 1
"""Exit code where what a command was asked to print could not be written."""


class Stream:
    """Standard output or error, as it is when something is written.

    A terminal that went away, a pipe that nobody reads and a full disk behind a log are no reason to lose work: with
    `strict` what cannot be written ends the program with exit code 1, because it was all that was asked for; without,
    it is dropped. Characters that the encoding lacks are written as escapes.
    """

    def __init__(self, name: Literal["stdout", "stderr"], *, strict: bool) -> None:
        self._name = name
        self._strict = strict

    def __getattr__(self, name: str) -> Any:
        """Return what the stream itself has: whether it is a terminal, its encoding."""
        return getattr(self._stream, name)

    @property
    def _stream(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)  # a live display stands in for the stream itself

    def write(self, text: str) -> int:
        """Write, or drop."""
        stream = self._stream
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError, AttributeError) as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        """Write what is waiting, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError, AttributeError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not self._strict:
            return
        close_quietly(self._name)
        if not isinstance(error, BrokenPipeError):
            tell(f"creditree: the output could not be written: {getattr(error, 'strerror', None) or error}")
        raise SystemExit(LOST) from error


def close_quietly(name: Literal["stdout", "stderr"]) -> None:
    """Write what a stream still holds; where that fails, let it go nowhere, so that Python's own end does not fail."""
    stream = getattr(sys, name)
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def tell(text: str) -> None:
    """Write a sentence on standard error, where it can be written."""
    stream = Stream("stderr", strict=False)
    stream.write(f"{text}\n")
    stream.flush()
