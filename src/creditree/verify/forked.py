"""A worker that is a copy of this program: for a function that only this program has, in its memory.

It has what the program had when it was made, and changes none of it. A copy has one thread: what other threads held
then (locks, pools of threads) it holds for ever, so a function that waits for it reaches its deadline. torch computes
in one thread there, and not on a GPU.
"""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NoReturn

import psutil

from creditree.verify.process import Worker

LOOK_S = 0.01
Main = Callable[[int], None]
"""What a worker does: it is given the descriptor of its lifeline."""


class Forked:
    """A copy of this process that runs `main`, at the end of three pipes; as `subprocess.Popen` has them."""

    def __init__(self, main: Main, lifeline: int) -> None:
        """Start it. Raises OSError where the system has no room for another process."""
        pipes = [os.pipe() for _ in range(3)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: see above
            self.pid = os.fork()
        if self.pid == 0:
            _be_worker(main, lifeline, (pipes[0][0], pipes[1][1], pipes[2][1]))
        for descriptor in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(descriptor)
        self.stdin: IO[bytes] = os.fdopen(pipes[0][1], "wb")
        self.stdout: IO[bytes] = os.fdopen(pipes[1][0], "rb")
        self.stderr: IO[bytes] = os.fdopen(pipes[2][0], "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                ended, status = self.pid, 0
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        started = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - started >= timeout:
                raise subprocess.TimeoutExpired("a worker", timeout)
            time.sleep(LOOK_S)
        return code

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkedWorker(Worker):
    """A worker that runs `main` in a copy of this process."""

    def __init__(self, main: Main, printed: Callable[[str], None]) -> None:
        theirs, lifeline = os.pipe()
        try:
            process = Forked(main, theirs)
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(theirs)
        with suppress(psutil.Error):
            self.shared_bytes = psutil.Process(process.pid).memory_info().rss
        self._attach(process, lifeline, printed)


def _be_worker(main: Main, lifeline: int, streams: tuple[int, int, int]) -> NoReturn:
    """Be the copy: nothing of the program is left open, and nothing that it wanted to do at its end is done."""
    code = 1
    try:
        os.setsid()  # Ctrl-C in a terminal is for the program, which then ends workers
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        _close_others(lifeline)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", 1), open(2, "w", 1)  # noqa: SIM115
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)  # its threads were not copied
        main(lifeline)
        code = 0
    except BaseException:
        with suppress(BaseException):
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
    finally:
        os._exit(code)


def _close_others(lifeline: int) -> None:
    """Close what the program has open: pipes of other workers above all, which end with the last copy of their ends."""
    try:
        last = max(map(int, os.listdir("/proc/self/fd")))
    except (OSError, ValueError):
        last = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, lifeline)
    os.closerange(lifeline + 1, last + 1)
