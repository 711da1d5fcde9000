"""Processes at the end of a pipe: what may hang, crash or misbehave runs in one, where it can be ended.

A worker is a fresh interpreter, not a fork: it imports neither the program that started it nor torch, needs no main
guard, and works the same on systems that cannot fork. It is asked in frames (8 bytes of length, then the bytes) and
answers in lines; what a worker says is only ever read as JSON. `creditree.verify.child` is its side of the pipe.
"""

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, Protocol

import creditree

LONGEST_REPLY = 1 << 26
"""Bytes of one reply; a worker that says more is taken for one that ended."""
LONGEST_LINE = 4096
LAST_WAIT_S = 5.0


class AnyProcess(Protocol):
    """What a worker needs of its process: that of `subprocess.Popen`."""

    pid: int
    returncode: int | None
    stdin: Any
    stdout: Any
    stderr: Any

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Worker:
    """One process that runs ``python -m module``, a thread that reads what it says and one that tells it.

    `printed` is given each line that the process prints; without it what is printed is dropped.
    """

    shared_bytes: int = 0
    """Memory that it began with, as a copy of the program that started it."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        variables: Mapping[str, str] | None = None,
        printed: Callable[[str], None] | None = None,
    ) -> None:
        source = str(Path(creditree.__file__).resolve().parents[1])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        theirs, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if printed is None else subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, **(variables or {})},
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then ends workers
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(theirs)
        self._attach(process, lifeline, printed)

    def _attach(self, process: AnyProcess, lifeline: int, printed: Callable[[str], None] | None) -> None:
        """Talk to a process, which ends where `lifeline` is closed."""
        self.process = process
        self._lifeline = lifeline
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._start(self._listen, self._tell)
        if printed is not None:
            self._start(lambda: self._pass_on(printed))

    def send(self, payload: bytes) -> None:
        """Ask; never waits, also where the process reads nothing."""
        self._asked.put(len(payload).to_bytes(8, "big") + payload)

    def hear(self, seconds: float) -> bytes | None:
        """Return the next reply, or None where the worker ended. Raises TimeoutError where there is none in time."""
        try:
            return self._said.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None

    def ask(self, payload: bytes, deadline_s: float) -> bytes | None:
        """Return the reply, or None where the worker ended. Raises TimeoutError after the deadline."""
        self.send(payload)
        return self.hear(deadline_s)

    def end(self, patience_s: float = 0.0) -> None:
        """End the process and all that it started, by force where it does not end by itself in time; again is nothing.

        With patience it is told first that there are no more jobs, so that it may write what it holds.
        """
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline < 0:
            return
        if patience_s:
            self._asked.put(None)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._asked.put(None)
        os.close(lifeline)

    @property
    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self.process.poll() is not None

    @property
    def ending(self) -> str:
        """How the process ended, in words, where it closed its side of the pipe."""
        try:
            code = self.process.wait(LAST_WAIT_S)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code >= 0:
            return f"ended its process with exit code {code}"
        with suppress(ValueError):
            return f"ended its process by {signal.Signals(-code).name}"
        return f"ended its process by signal {-code}"

    def _start(self, *targets: Callable[[], None]) -> None:
        for target in targets:
            Thread(target=target, name="creditree-grading", daemon=True).start()

    def _listen(self) -> None:
        with _open(self.process.stdout) as replies:
            while (line := replies.readline(LONGEST_REPLY)).endswith(b"\n"):
                self._said.put(line)
        self._said.put(None)

    def _tell(self) -> None:
        # An OSError is a process that ended: whoever waits for its reply hears that.
        with suppress(OSError, ValueError), _open(self.process.stdin) as jobs:
            while (job := self._asked.get()) is not None:
                jobs.write(job)
                jobs.flush()

    def _pass_on(self, printed: Callable[[str], None]) -> None:
        with _open(self.process.stderr) as lines:
            while line := lines.readline(LONGEST_LINE):
                printed(line.decode("utf-8", "replace").rstrip("\r\n"))


def _open(stream: object) -> BinaryIO:
    assert stream is not None
    return stream  # type: ignore[return-value]
