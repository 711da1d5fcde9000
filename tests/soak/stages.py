"""Where a command is, told from outside of it: the stage that it died in, and its death at a chosen moment.

The stage lies in a file that is mapped into memory, so it can be read after a SIGKILL. The signal is sent by a timer of
the system, which needs nobody to wake up in time and asks nothing of the process: it strikes in the middle of native
code, of a write, of an fsync.
"""

import ctypes
import json
import mmap
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any

from creditree.ledger import Seconds
from creditree.runs.directory import RunDirectory

STARTING = "starting"
"""Before the first stage, and between two of them."""
PHASES = {
    "sample": "sampling", "judge": "judging", "explore": "crediting", "credit": "crediting", "learn": "update",
    "validate": "evaluation", "evaluate": "evaluation",
}  # fmt: skip
WRITES = {"save": "checkpoint", "write_rollouts": "rollouts", "append": "metrics", "published": "adapter"}
STAGES = (STARTING, *dict.fromkeys([*PHASES.values(), *WRITES.values()]))
AT = ".stage"
TIMES = ".times.json"


@dataclass(frozen=True, slots=True)
class Moment:
    """`delay_s` after the `nth` time (from 1) that a stage is entered, `number` is sent, and again after `again_s`."""

    stage: str
    nth: int
    delay_s: float
    number: int = signal.SIGKILL
    again_s: float | None = None


def looked_at(place: Path, moment: Moment | None) -> None:
    """Make this process keep its stage, and how long each took, in files named after `place`; strike at the moment."""
    path = place.with_name(place.name + AT)
    path.write_bytes(bytes(1))
    with path.open("r+b") as file:
        now = mmap.mmap(file.fileno(), 1)
    entered: Counter[str] = Counter()
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    began = perf_counter()

    def enter(stage: str) -> None:
        now[0] = STAGES.index(stage)
        entered[stage] += 1
        if moment is not None and (stage, entered[stage]) == (moment.stage, moment.nth):
            send(moment.number, moment.delay_s)
            if moment.again_s is not None:
                send(moment.number, moment.delay_s + moment.again_s)

    @contextmanager
    def at(stage: str) -> Iterator[None]:
        before, start = now[0], perf_counter()
        if not times[STARTING]:
            times[STARTING].append(start - began)
        enter(stage)
        try:
            yield
        finally:
            now[0] = before
            times[stage].append(perf_counter() - start)
            place.with_name(place.name + TIMES).write_text(json.dumps(times))

    _mark(at)
    enter(STARTING)


def died_in(place: Path) -> str:
    """Return the stage that a process was in last."""
    return STAGES[place.with_name(place.name + AT).read_bytes()[0]]


def times_of(place: Path) -> dict[str, list[float]]:
    """Return the seconds of each stage, each time that it was entered."""
    times: dict[str, list[float]] = json.loads(place.with_name(place.name + TIMES).read_text())
    return times


def _mark(at: Callable[[str], AbstractContextManager[None]]) -> None:
    phase = Seconds.phase

    @contextmanager
    def marked(self: Seconds, name: str) -> Iterator[None]:
        with phase(self, name), at(PHASES[name]):
            yield

    setattr(Seconds, "phase", marked)  # noqa: B010
    for name, stage in WRITES.items():
        setattr(RunDirectory, name, _inside(getattr(RunDirectory, name), stage, at))


def _inside(
    method: Callable[..., Any], stage: str, at: Callable[[str], AbstractContextManager[None]]
) -> Callable[..., Any]:
    if stage == "adapter":

        @contextmanager
        def block(*given: Any) -> Iterator[Any]:
            with at(stage), method(*given) as made:
                yield made

        return block

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        with at(stage):
            return method(*given, **named)

    return call


class _Event(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _Times(ctypes.Structure):
    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


MONOTONIC, BY_SIGNAL = 1, 0


def send(number: int, delay_s: float) -> None:
    """Have the system send this process a signal after some seconds (timer_create(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = ctypes.c_void_p()
    made = libc.timer_create(MONOTONIC, ctypes.byref(_Event(None, number, BY_SIGNAL)), ctypes.byref(timer))
    nanoseconds = max(1, int(delay_s * 1e9))
    times = _Times(0, 0, *divmod(nanoseconds, 10**9))
    assert made == 0
    assert libc.timer_settime(timer, 0, ctypes.byref(times), None) == 0
