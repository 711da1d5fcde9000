"""The process that compares formulas, one a job. Started by `creditree.verify.pool`, never imported.

Its memory is limited, an alarm interrupts a comparison at its deadline, and it refuses to start programs, open
connections or write files. It ends with who started it.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

from creditree.verify.child import Channels

GRACE_S = 1.0
"""How long after the deadline the process is ended where it does not stop by itself."""
AGAIN_S = 0.2
MOST_LATE = 50
"""Interrupted comparisons after which a worker is replaced: what they left half done is not trusted for ever."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
REFUSED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.remove", "os.rename", "os.rmdir",
           "os.mkdir", "os.kill", "subprocess.Popen", "socket.connect", "socket.bind", "shutil.", "ctypes.dlopen",
           "urllib.Request", "webbrowser.open", "pty.spawn")  # fmt: skip


def main(lifeline: int, deadline_s: float, memory_bytes: int) -> None:
    """Answer jobs until the input ends."""
    channels = Channels.opened(lifeline)
    from creditree.verify.symbolic import Judgement, compare

    _limit_memory(memory_bytes)
    sys.addaudithook(_refuse)
    channels.reply({"ready": True})
    signal_late()
    late = 0
    for payload in channels.frames():
        job = json.loads(payload)
        try:
            with_alarm(deadline_s)
            try:
                finding = compare(job["answer"], job["truths"], job["math_verify"])
            finally:
                with_alarm(0)
        except Late:
            finding, late = Judgement(False, "timeout", f"the comparison took longer than {deadline_s:g} s."), late + 1
        except MemoryError:
            finding = Judgement(False, "crash", "the comparison needed too much memory.")
        except Exception as error:
            finding = Judgement(False, "unparsable", f"the comparison failed with {type(error).__name__}.")
        retiring = finding.status == "crash" or late >= MOST_LATE or _is_full(memory_bytes)
        channels.reply({**asdict(finding), "retiring": retiring})


class Late(BaseException):
    """Raised by the alarm in what takes too long; no Exception, which libraries catch."""


def signal_late() -> None:
    """Have the alarm raise Late, which interrupts what is written in Python."""

    def ring(number: int, frame: object) -> None:
        raise Late

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, ring)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def with_alarm(seconds: float) -> None:
    """Set the alarm, or take it back with 0.

    It rings again and again, where a library swallows it; code that is not Python does not hear it, so that soon after
    the system ends the process by the processor time it has used. That also holds where the parent was killed.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds + GRACE_S if seconds else 0)
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # a system without such limits: deadlines still hold


def _is_full(memory_bytes: int) -> bool:
    """Return whether the process holds more than half of its memory, which it seldom gives back."""
    return _held_bytes() > memory_bytes / 2


def _held_bytes() -> int:
    """Return the resident memory: the peak of `getrusage` starts with that of whoever started this process on Linux."""
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(REFUSED) or (event == "open" and _writes(arguments)):
        raise PermissionError(f"a grading process does not do {event}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    return bool(set(mode or "") & set("wax+")) or (mode is None and bool(flags & WRITING))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
