"""Running a program that nobody has read: shut in where the system can do that, under limits, and cleaned up after.

What `confined` does is tried once, as root without a user namespace and else in one, and what works is used.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import IO, Literal

from creditree.errors import ConfigError

How = Literal["root", "user", "none"]
MOST_OUTPUT = 64 * 1024
"""Bytes that a program may print, and write to a file."""
SCRATCH = 16 << 20
"""Bytes of all its files together, which lie in memory."""
START_S = 60.0
"""How long the preparations may take, on a machine that is busy."""
CLEAN_S = 1.0
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
CONFINED = Path(__file__).with_name("confined.py")
CURE = (
    "allow user namespaces (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --cap-add "
    "SYS_ADMIN --security-opt seccomp=unconfined), or, where programs may read and change all that you can, set "
    "reward: {name: program, allow_execution: true, contain: false}"
)


class SetupError(Exception):
    """A program that was not started, and why: nothing that it did."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its exit code (128 + n for a signal n), None where it was killed at its deadline."""

    code: int | None
    printed: str = ""


@dataclass(frozen=True, slots=True)
class Containment:
    """How programs can be shut in on this machine, or `how` "none" and the reason."""

    how: How
    reason: str = ""

    def check(self) -> None:
        """Raise ConfigError where they cannot be."""
        if self.how == "none":
            raise ConfigError(f"The grader program cannot shut programs in on this machine ({self.reason}); {CURE}.")


@lru_cache(maxsize=1)
def containment() -> Containment:
    """Return what works on this machine, found by trying once."""
    if sys.platform != "linux":
        return Containment("none", "it has no Linux namespaces")
    reason = ""
    ways: tuple[How, ...] = ("root", "user") if os.geteuid() == 0 else ("user",)
    for how in ways:
        try:
            ran = run("print(6 * 7)", how, START_S, 1 << 29)
        except SetupError as error:
            reason = str(error)
            continue
        if ran == Ran(0, "42\n"):
            return Containment(how)
        reason = "Python does not run there"
    return Containment("none", reason)


def run(program: str, how: How, deadline_s: float, memory_bytes: int) -> Ran:
    """Run Python source and return how it ended. Raises SetupError where it could not be started.

    Afterwards nothing of it is left: neither a process nor, as a rule, a file (see `_folder` for "none").
    """
    try:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as printed, _folder(how) as folder:
            source.write(program.encode("utf-8", "replace"))
            source.seek(0)
            code = _code(how, deadline_s, memory_bytes, source, printed, folder)
            printed.seek(0)
            return Ran(code, printed.read(MOST_OUTPUT).decode("utf-8", "replace"))
    except OSError as error:
        raise SetupError(f"{type(error).__name__}: {error}") from error


def _code(
    how: How, deadline_s: float, memory_bytes: int, source: IO[bytes], printed: IO[bytes], folder: str
) -> int | None:
    report, theirs = os.pipe()
    try:
        spec = _spec(how, deadline_s, memory_bytes, theirs)
        # Output goes to a file, whose size the system limits: a pipe would have to be read without end.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(CONFINED), json.dumps(spec)],
            cwd=folder,
            env={},
            stdin=source,
            stdout=printed,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs,),
            start_new_session=True,
        )
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(theirs)
    try:
        _await_start(report)
        code = process.wait(deadline_s)
        return code if code >= 0 else 128 - code
    except subprocess.TimeoutExpired:
        return None
    finally:
        os.close(report)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_start(report: int) -> None:
    """Return when the program has started: its end of the pipe closes then. Raises SetupError where it does not."""
    if not select.select([report], [], [], START_S)[0]:
        raise SetupError("it was not ready in time")
    reason = os.read(report, 4096)
    if reason:
        raise SetupError(reason.decode("utf-8", "replace"))


def _spec(how: How, deadline_s: float, memory_bytes: int, report: int) -> dict[str, object]:
    return {
        "how": how,
        "report": report,
        "python": sys.executable,
        "visible": _visible(),
        "mount_on": tempfile.gettempdir(),
        "scratch": SCRATCH,
        "most_s": START_S + deadline_s,
        "cpu": int(deadline_s) + 1,
        "memory": memory_bytes,
        "size": MOST_OUTPUT,
    }


def _visible() -> list[str]:
    """Return the paths that the interpreter needs, none below another: it, its libraries, and the system's."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    named = {os.path.abspath(path) for path in (*SYSTEM, *prefixes)} | {os.path.realpath(path) for path in prefixes}
    named.discard("/")  # an interpreter that has the root for its own gets no more than the system's libraries
    folders = {f"{path}/" for path in named if not os.path.islink(path)}
    return sorted(path for path in named if not any(path.startswith(folder) for folder in folders))


@contextmanager
def _folder(how: How) -> Iterator[str]:
    """Make an empty folder for a program that is not shut in, and remove it with whatever is in it.

    That is done by a process of its own, which goes on alone where there is so much that it would be waited for.
    """
    if how != "none":
        yield "/"
        return
    folder = tempfile.mkdtemp(prefix="creditree-")
    try:
        yield folder
    finally:
        remover = subprocess.Popen(
            ["rm", "-rf", "--", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        waiting = Thread(target=remover.wait, name="creditree-cleaning", daemon=True)
        waiting.start()
        waiting.join(CLEAN_S)
