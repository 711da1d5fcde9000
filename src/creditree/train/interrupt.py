"""Signals that ask a program to stop: Ctrl-C, SIGTERM, SIGHUP of a lost terminal, SIGXCPU of a processor limit."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name))
"""What stops a program so that it may end in good order; all of them mean the same."""

FIRST_SIGNAL_CODE = 128
"""Shells add a signal's number to this for the exit code of what it ended: 130 for Ctrl-C, 143 for SIGTERM."""


GRACE_S = 3.0
"""Seconds that work which was asked to stop has to come to a good place; then it is interrupted where it is."""


class Interrupted(KeyboardInterrupt):
    """A signal has stopped the work. `number`: which;  `hint`: a sentence on what is kept and how to go on."""

    def __init__(self, number: int = signal.SIGINT, hint: str = "") -> None:
        super().__init__(number, hint)
        self.number = number
        self.hint = hint

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return FIRST_SIGNAL_CODE + self.number

    def __str__(self) -> str:
        """Return what to tell the user."""
        by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
        return f"interrupted{by}; {self.hint}" if self.hint else f"interrupted{by}"


@dataclass(slots=True)
class StopRequest:
    """Whether a signal has asked to stop, and which was the first."""

    number: int | None = None

    @property
    def made(self) -> bool:
        """Whether one has."""
        return self.number is not None


@contextmanager
def raising() -> Iterator[None]:
    """Let each of the signals raise `Interrupted` in the block, wherever it is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled(stop):
        yield


@contextmanager
def finishing(told: Callable[[int], None], grace_s: float = GRACE_S) -> Iterator[StopRequest]:
    """Let the first signal ask the block to stop where it likes, and call `told`; the second raises `Interrupted`.

    A block that has not ended `grace_s` seconds after the first is sent the second. After the second, further ones are
    ignored until the block has ended: it is saving what it has.
    """
    request, impatience = StopRequest(), _Impatience(grace_s)

    def ask(number: int, frame: FrameType | None) -> None:
        if not request.made:
            request.number = number
            impatience.begin(number)
            told(number)
            return
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        raise Interrupted(number)

    with _handled(ask):
        try:
            yield request
        finally:
            impatience.end()


class _Impatience:
    """Sends a signal to the main thread after a while, unless `end` comes first."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s, self._lock, self._over = grace_s, threading.Lock(), False
        self._timer: threading.Timer | None = None

    def begin(self, number: int) -> None:
        self._timer = threading.Timer(self._grace_s, self._send, (number,))
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        with self._lock:
            self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _send(self, number: int) -> None:
        with self._lock:
            if self._over:
                return
            if hasattr(signal, "pthread_kill"):  # wakes a main thread that waits for another process, too
                signal.pthread_kill(threading.main_thread().ident or 0, number)
            else:
                _thread.interrupt_main(signal.Signals(number))


@contextmanager
def continuing(hint: str) -> Iterator[None]:
    """Say of an interruption of the block what is kept and how to go on, unless that is said already."""
    try:
        yield
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
        said = stop.hint if isinstance(stop, Interrupted) else ""
        raise Interrupted(number, said or hint) from None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals in the block. One that the caller ignores stays ignored, as under nohup."""
    before: dict[int, Any] = {}
    try:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread: no signal arrives there
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
