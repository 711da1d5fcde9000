"""The progress of procedures on a console."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from creditree.engines.pulse import Pulse
from creditree.report.measuring import MeasureProgress
from creditree.report.progress import Progress
from creditree.report.watcher import Watcher


class Shown(Watcher):
    """Shows a panel or a bar on a terminal, plain lines now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._training: Progress | None = None
        self._measuring: MeasureProgress | None = None

    def message(self, text: str) -> None:
        """Show a sentence."""
        self.console.print(Text(text), soft_wrap=True)

    def update(self, record: Mapping[str, object]) -> None:
        """Show the metrics record of a training step."""
        if self._training is not None:
            self._training.update(record)

    def measured(self, label: str, new: int, old: int, correct: int, total: int, unjudged: int = 0) -> None:
        """Show how far a measurement is."""
        if self._measuring is not None:
            self._measuring.measured(label, new, old, correct, total, unjudged)

    def beat(self, label: str, pulse: Pulse) -> None:
        """Show how far the present piece of a measurement is sampled."""
        if self._measuring is not None:
            self._measuring.beat(label, pulse)

    @contextmanager
    def training(
        self,
        steps: int | None,
        cpu_s: float | None = None,
        wall_s: float | None = None,
        tokens: int | None = None,
    ) -> Iterator[None]:
        """Show the steps of the block."""
        with Progress(steps, self.console, cpu_s, wall_s, tokens) as self._training:
            try:
                yield
            finally:
                self._training = None

    @contextmanager
    def measuring(self, total: int) -> Iterator[None]:
        """Show the measurement in the block."""
        with MeasureProgress(total, self.console) as self._measuring:
            try:
                yield
            finally:
                self._measuring = None
