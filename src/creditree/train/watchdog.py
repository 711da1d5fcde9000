"""What a run is at when nothing moves: the stage is named, so that nobody has to guess what hangs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

from creditree.engines.pulse import Pulse
from creditree.ledger import Seconds
from creditree.report.measuring import MeasureProgress
from creditree.report.watcher import Watcher
from creditree.report.wording import duration, pulse_words

STILL_S = 60.0
"""Seconds without a sign of life after which the stage is named, and again after twice as many, and so on."""
LOOK_S = 5.0
MEASURE_S = 15.0
"""Seconds between two lines on how far a measurement, or what a step samples, is."""
STAGES = {
    "sample": "sampling",
    "judge": "judging",
    "explore": "exploring",
    "credit": "giving credit",
    "learn": "learning",
    "validate": "validating",
    "evaluate": "measuring",
}


class Watchdog(Watcher):
    """Knows when something last moved: a phase that began or ended, or a measurement that went on."""

    def __init__(
        self, watcher: Watcher, seconds: Callable[[], Seconds], clock: Callable[[], float] = monotonic
    ) -> None:
        """`seconds` returns the clock of the phases."""
        self._watcher, self._seconds, self._clock = watcher, seconds, clock
        self._seen: tuple[object, ...] = ()
        self._moved = clock()
        self._wait = STILL_S
        self._part = ""
        self._shown = self._call = clock()
        self._tokens = 0

    def look(self) -> None:
        """Tell which stage stands still, if one has for long."""
        seconds = self._seconds()
        if self._moved_on(seconds):
            return
        still = self._clock() - self._moved
        if seconds.stage is not None and still >= self._wait:
            self._wait = 2 * still
            stage = STAGES.get(seconds.stage, seconds.stage)
            part = f" ({self._part})" if self._part and seconds.stage == "evaluate" else ""
            self._watcher.message(f"still {stage}{part}: nothing has moved for {duration(still)}")

    def measured(self, label: str, new: int, old: int, correct: int, total: int, unjudged: int = 0) -> None:
        """Take how far a measurement is, and show it now and then."""
        self._part, self._moved, self._wait = label, self._clock(), STILL_S
        if self._clock() - self._shown >= MEASURE_S:
            self._shown = self._clock()
            self._watcher.message(MeasureProgress.line(label, new + old, correct, total, unjudged))

    def beat(self, label: str, pulse: Pulse) -> None:
        """Take how far an engine call is, of the measurement `label` or of the present stage; show it now and then."""
        now = self._clock()
        if pulse.tokens < self._tokens:  # another call
            self._call = now
        self._tokens, self._moved, self._wait = pulse.tokens, now, STILL_S
        stage = self._seconds().stage or "sample"
        if now - max(self._shown, self._call) >= MEASURE_S:
            self._shown = now
            self._watcher.message(f"{label or STAGES.get(stage, stage)}: {pulse_words(pulse)}")

    def _moved_on(self, seconds: Seconds) -> bool:
        seen = (seconds.stage, seconds.entered)
        if seen == self._seen:
            return False
        self._seen, self._moved, self._wait = seen, self._clock(), STILL_S
        return True


@contextmanager
def watched(dog: Watchdog, look_s: float = LOOK_S) -> Iterator[None]:
    """Let the watchdog look around every few seconds while the block runs."""
    ended = Event()

    def guard() -> None:
        while not ended.wait(look_s):
            dog.look()

    thread = Thread(target=guard, name="creditree-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)
