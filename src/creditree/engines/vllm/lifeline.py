"""Runs a command for as long as whoever started it lives: ``python lifeline.py DESCRIPTOR COMMAND...``.

The descriptor is one end of a pipe. It closes when its holder ends, in whatever way, SIGKILL included; then the command
and all that it started is told to end, and soon after killed. Run as a file, by any Python: it imports nothing of the
package.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from types import FrameType

LOOK_S = 0.5
GOODBYE_S = 10.0
"""Seconds that a command has to end by itself."""
PR_SET_PDEATHSIG = 1


def main(lifeline: int, command: list[str]) -> int:
    """Return the command's exit code: 128 and the number of the signal that ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)  # a handler, which the command does not inherit as it does what is ignored
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    while process.poll() is None:
        if select.select([lifeline], [], [], LOOK_S)[0]:
            _end(process)
    _signal(process, signal.SIGKILL)  # what it has left behind
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end(process: "subprocess.Popen[bytes]") -> None:
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GOODBYE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_with_parent() -> None:
    """Have the command told to end where this process is killed; Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _stay(number: int, frame: FrameType | None) -> None:
    """Do nothing: the pipe says when to end."""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
