"""Who is told how a procedure gets on: procedures print nothing themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from creditree.engines.pulse import Pulse


class Watcher:
    """Whoever shows the progress of a procedure. This one shows nothing: override what is to be seen."""

    def message(self, text: str) -> None:
        """Show a sentence."""

    def update(self, record: Mapping[str, object]) -> None:
        """Show the metrics record of a training step."""

    def measured(self, label: str, new: int, old: int, correct: int, total: int, unjudged: int = 0) -> None:
        """Show how far a measurement is: completions of `label` sampled since it began (`new`), found there (`old`).

        Of these `correct` are correct and `unjudged` have no reward; `total` are wanted.
        """

    def beat(self, label: str, pulse: Pulse) -> None:
        """Show how far the present piece of the measurement `label` is sampled."""

    @contextmanager
    def training(
        self,
        steps: int | None,
        cpu_s: float | None = None,
        wall_s: float | None = None,
        tokens: int | None = None,
    ) -> Iterator[None]:
        """Run the block, in which steps are made: at most `steps`, no more than seconds and sampled tokens allow."""
        yield

    @contextmanager
    def measuring(self, total: int) -> Iterator[None]:
        """Run the block, in which `total` completions are sampled or found."""
        yield
