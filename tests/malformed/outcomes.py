"""Run commands in forked processes, several at once, each with a limit, and say how each ended."""

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import psutil

import creditree.cli.describe
import creditree.measure.evaluation
import creditree.measure.grade
import creditree.setup.training
import creditree.sweep.running  # noqa: F401 - here once, and not in every process
from creditree.cli.main import run
from creditree.disk import is_there

Check = Callable[[str], str]
"""From what a command printed to what is wrong with it, "" for nothing."""
LIMIT_S = 60.0
"""Seconds of a processor: on a busy machine a command waits for it, and is none the worse."""
PATIENCE_S = 600.0
"""Seconds for a command that waits for something else, which may never come."""
AT_ONCE = 2
ENDED = ".ended"
"""The file in which a case's exit code is left."""
MOST_MEMORY = 3 << 30
"""Bytes that a command may hold beyond what this process does."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input: its family, how it was made, the command that reads it, and what its success must have printed."""

    family: str
    kind: str
    folder: Path
    arguments: tuple[str, ...]
    check: Check = lambda _: ""
    act: Callable[[], None] | None = None
    leaves: tuple[str, ...] = ()
    """What must not be there where it is refused."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended: ``works``, ``refused`` (one sentence, exit code 2), or what must not be."""

    case: Case
    name: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        return self.name not in ("works", "refused")


def outcomes(cases: Iterable[Case], together: int = 1) -> Iterator[Outcome]:
    """Run all cases, so many after one another in a process, which is killed after 60 seconds of work.

    A process for each costs more than most cases do; one that ends with its process is seen, and the others go on.
    """
    running: dict[int, tuple[list[Case], float]] = {}
    waiting = iter(cases)
    batch = [*islice(waiting, together)]
    while batch or running:
        if batch and len(running) < AT_ONCE:
            running[_started(batch)] = (batch, time.monotonic())
            batch = [*islice(waiting, together)]
            continue
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        late = [one for one, (_, begun) in running.items() if one != pid and _hangs(one, time.monotonic() - begun)]
        for hanging in late[: not pid]:
            os.kill(hanging, signal.SIGKILL)
            pid, status, usage = os.wait4(hanging, 0)
        if pid in running:
            begun, _ = running.pop(pid)
            done = [case for case in begun if is_there(case.folder / ENDED)]
            for case in done:
                yield _outcome(case, int((case.folder / ENDED).read_text()), usage.ru_maxrss * 1024)
            if len(done) < len(begun):
                case = begun[len(done)]
                is_late = pid in late
                yield Outcome(case, "hang", f"more than {LIMIT_S:.0f} s") if is_late else _outcome(case, status, 0)
                batch = [*begun[len(done) + 1 :], *batch]
        if not pid:
            time.sleep(0.005)


def _hangs(pid: int, seconds: float) -> bool:
    if seconds <= LIMIT_S:  # it cannot have worked longer than it ran
        return False
    spent = psutil.Process(pid).cpu_times()
    return seconds > PATIENCE_S or spent.user + spent.system > LIMIT_S


def _started(batch: Sequence[Case]) -> int:
    pid = os.fork()
    if pid:
        return pid
    for case in batch:
        code = 1
        try:
            code = _run(case)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        (case.folder / ENDED).write_text(str(code << 8), encoding="ascii")  # as a process that ends with it has it
    os._exit(0)


def _run(case: Case) -> int:
    """Run the command of a case in this process, a child's, with its words in files."""
    for number, name in ((1, "out"), (2, "err")):
        opened = os.open(case.folder / f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", errors="backslashreplace")
    sys.stderr = TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace")
    warnings.resetwarnings()  # the suite makes errors of them
    warnings.simplefilter("ignore")
    os.chdir(case.folder)
    sys.argv = ["creditree", *case.arguments]
    try:
        if case.act is not None:
            case.act()
        else:
            run()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _outcome(case: Case, status: int, memory: int) -> Outcome:
    out, err = ((case.folder / f".{name}").read_bytes().decode(errors="replace") for name in ("out", "err"))
    whole = (err.strip().splitlines() or [""])[-1]
    last = whole[:300]
    if os.WIFSIGNALED(status):
        return Outcome(case, "crash", f"signal {os.WTERMSIG(status)}: {last}")
    code = os.WEXITSTATUS(status)
    if memory > psutil.Process().memory_info().rss + MOST_MEMORY:
        return Outcome(case, "memory", f"{memory / 1e9:.1f} GB: {last}")
    if "Traceback (most recent call last)" in err or code not in (0, 2):
        return Outcome(case, "traceback", f"exit {code}: {last}")
    if any(
        (ord(one) < 32 and one not in "\n\t") or 127 <= ord(one) < 160 or one in "\u202e\u2066" for one in out + err
    ):
        return Outcome(case, "escape", repr(last))
    if code == 0:
        wrong = case.check(out)
        return Outcome(case, "wrong content" if wrong else "works", wrong)
    sentences = [line for line in err.splitlines() if line.startswith("creditree: ")]
    if len(sentences) != 1 or not whole.endswith((".", "?", ")")):
        return Outcome(case, "no sentence", last)
    left = [name for name in case.leaves if os.path.lexists(case.folder / name)]
    if left:
        return Outcome(case, "partial output", f"{left[0]} is there: {last}")
    return Outcome(case, "refused", last)
