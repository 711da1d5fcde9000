"""Where the command line's words go."""

import json
import os
import sys
import warnings
from contextlib import suppress
from typing import IO, Any, Literal, cast

from rich.console import Console

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


def console() -> Console:
    """Return the console for the tables and sentences that a command is asked for (standard output)."""
    return Console(file=cast("IO[str]", Stream("stdout", strict=True)), highlight=False)


def progress_console(*, on_stderr: bool) -> Console:
    """Return the console of work that goes on whether or not anybody reads what it says; its files hold the results."""
    stream = Stream("stderr" if on_stderr else "stdout", strict=False)
    return Console(file=cast("IO[str]", stream), highlight=False)


def tell(text: str) -> None:
    """Write a sentence on standard error, where it can be written."""
    stream = Stream("stderr", strict=False)
    stream.write(f"{text}\n")
    stream.flush()


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    stream = Stream("stdout", strict=True)
    stream.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    stream.flush()


def quiet_libraries() -> None:
    """Keep notices that are not for the user (deprecations inside libraries, loading reports) off the terminal."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    # else each of five attempts is told of before the sentence that counts
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
