"""An engine that is asked for nothing ahead: the way without overlap, for tests and the benchmark of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.pulse import Told
from creditree.ledger import Ledger


@dataclass
class Waited(Engine):
    """The same engine, asked for nothing ahead."""

    engine: Engine

    @property
    def max_rows(self) -> int:
        """What the engine says."""
        return self.engine.max_rows

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Pass on."""
        return self.engine.sample(requests, sampling, told)

    def forget(self) -> None:
        """Pass on."""
        self.engine.forget()
