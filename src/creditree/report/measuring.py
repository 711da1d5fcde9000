"""The progress of a measurement: a bar on a terminal, a plain line now and then elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from creditree.engines.pulse import Pulse
from creditree.report.wording import duration, percent, pulse_words


class MeasureProgress:
    """Shows how many completions of a whole measurement are judged; use it as a context.

    `total`: completions of all its parts together. Time left is taken from the completions sampled since the start, so
    what an earlier, stopped command had done does not make it look faster.
    """

    def __init__(
        self, total: int, console: Console, *, every_s: float = 10.0, clock: Callable[[], float] = monotonic
    ) -> None:
        """`every_s`: without a terminal, how often a line is written (the first of a part and its last always are)."""
        self._total = total
        self._console = console
        self._every = every_s
        self._clock = clock
        self._begun = clock()
        self._new = self._old = self._before = 0
        self._shown_at = float("-inf")
        self._text = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._begun = self._clock()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[left]}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("measuring", total=self._total, left="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def measured(self, label: str, new: int, old: int, correct: int, total: int, unjudged: int = 0) -> None:
        """Take the state of one part: completions sampled now, found already, correct, wanted, and without a reward."""
        if new == 0:
            self._old += old
            self._before = self._new
        self._new = self._before + new
        text = self._text = self.line(label, new + old, correct, total, unjudged)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=self._new + self._old, left=self._left())
            return
        if new == 0 or new + old == total or self._clock() - self._shown_at >= self._every:
            self._shown_at = self._clock()
            left = self._left()
            self._console.print(Text(f"{text} | {left}" if left else text), soft_wrap=True)

    def beat(self, label: str, pulse: Pulse) -> None:
        """Take how far the present piece of a part is sampled."""
        left = self._left_at_most(pulse)
        words = pulse_words(replace(pulse, left_s=None))
        text = f"{self._text or label} | now {words}"
        if self._bar is not None and self._task is not None:
            done = self._new + self._old + pulse.finished
            self._bar.update(self._task, description=text, completed=done, left=left)
        elif self._clock() - self._shown_at >= self._every:
            self._shown_at = self._clock()
            self._console.print(Text(f"{text} | {left}" if left else text), soft_wrap=True)

    def message(self, text: str) -> None:
        """Show a sentence."""
        self._console.print(Text(text), soft_wrap=True)

    @staticmethod
    def line(label: str, done: int, correct: int, total: int, unjudged: int = 0) -> str:
        """Return the state of one part as text."""
        share = f" | correct {percent(correct / (done - unjudged))} %" if done > unjudged else ""
        missing = f" | without a reward {unjudged:,}" if unjudged else ""
        return f"{label}: {done:,} of {total:,} completions{share}{missing}"

    def _left_at_most(self, pulse: Pulse) -> str:
        """Return the time left by the pieces before, or at first by the present one."""
        if self._new or pulse.left_s is None:
            return self._left()
        total = max(self._total - self._old, pulse.rows)  # of no more than a call, where that is timed for itself
        rest = total / pulse.rows * (pulse.seconds + pulse.left_s) - pulse.seconds
        return f"at most {duration(rest)} left"

    def _left(self) -> str:
        if self._new == 0:
            return ""
        rest = self._total - self._new - self._old
        return f"{duration((self._clock() - self._begun) / self._new * rest)} left"
