"""A worker's side of the pipe (see `creditree.verify.process`): imported by worker processes only."""

import fcntl
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread
from typing import BinaryIO, Self

OUT_OF_THE_WAY = 200
"""Descriptors of our own have numbers from here, where code that closes the first few does not reach them."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Where jobs come from and replies go, and what the standard streams are while code of others runs."""

    jobs: BinaryIO
    replies: BinaryIO
    nothing: int
    errors: int

    @classmethod
    def opened(cls, lifeline: int) -> Self:
        """Take the pipe of this process, which from now on ends with the one that started it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        jobs, replies, errors, parent = (_moved(own) for own in (0, 1, 2, lifeline))
        os.close(lifeline)
        _end_with_parent(parent)
        own = cls(os.fdopen(jobs, "rb"), os.fdopen(replies, "wb"), _moved(os.open(os.devnull, os.O_RDONLY)), errors)
        own.set_standard_streams()
        return own

    def set_standard_streams(self) -> None:
        """Have nothing on standard input, and what is printed go where errors go."""
        os.dup2(self.nothing, 0)
        os.dup2(self.errors, 1)
        os.dup2(self.errors, 2)

    def frames(self) -> Iterator[bytes]:
        """Yield what is asked until the input ends."""
        while len(size := self.jobs.read(8)) == 8:
            payload = self.jobs.read(int.from_bytes(size, "big"))
            if len(payload) < int.from_bytes(size, "big"):
                return
            yield payload

    def reply(self, value: object) -> None:
        """Say a value of JSON in a line."""
        self.replies.write(json.dumps(value).encode("ascii") + b"\n")
        self.replies.flush()


def _moved(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)


def _end_with_parent(lifeline: int) -> None:
    """Have this process and all that it starts killed where the other end of a pipe closes: its holder is no more.

    Linux does it by itself, also while code that is not Python computes; elsewhere a thread waits for it.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]:
            os.killpg(0, signal.SIGKILL)
    else:
        Thread(target=_kill_at_end, args=(lifeline,), daemon=True).start()


def _kill_at_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)
