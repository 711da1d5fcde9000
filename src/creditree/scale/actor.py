"""What runs in the process of a worker, and what it answers."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import gethostname
from typing import TYPE_CHECKING, TypeVar

from creditree.disk import is_folder
from creditree.errors import CreditreeError, is_out_of_memory
from creditree.scale.crew import Order, Reply, SentWeights
from creditree.scale.lockstep import OutOfStepError

if TYPE_CHECKING:
    from creditree.scale.sharded import Seat
    from creditree.scale.worker import CrewWorker

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Failed:
    """What a worker raised that is a user's mistake, or a lack of memory: it is raised where the order came from.

    `alone`: it is out of step with those that hold the model with it.
    """

    error: Exception
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has loaded everything: where it runs, and digests of what it holds."""

    host: str
    holds: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Dead:
    """What came of a call to a worker that is no more, or that has lost one it cannot work without: `reason`."""

    reason: str = ""


class Actor:
    """What runs in a worker's process. `seat`: its place among those that hold one model."""

    def __init__(
        self, make: "Callable[[], CrewWorker]", threads: int, directory: str, seat: "Seat | None" = None
    ) -> None:
        self._make, self._threads, self._directory, self._seat = make, threads, directory, seat
        self._worker: CrewWorker | None = None

    def ready(self) -> Started | Failed | Dead:
        """Load everything, or return what stands in the way."""
        import torch

        if is_folder(self._directory):
            os.chdir(self._directory)
        torch.set_num_threads(self._threads)
        return self._answered(self._started)

    def _started(self) -> Started:
        self._worker = self._make() if self._seat is None else self._seated(self._seat)
        return Started(gethostname(), self._worker.holds)

    def _seated(self, seat: "Seat") -> "CrewWorker":
        from creditree.scale.sharded import ModelGroup  # torch's machinery of several processes

        group = ModelGroup(seat)
        with group.turn():
            worker = self._make()
            worker.share(group)
        return worker

    def do(self, order: Order, weights: SentWeights) -> Reply | Failed | Dead:
        """Do an order."""
        assert self._worker is not None
        worker = self._worker
        return self._answered(lambda: worker.do(order, weights))

    def attend(self) -> Reply | Dead:
        """Take part in what others do with a model that they hold together. What fails here is nobody's order."""
        assert self._worker is not None
        answer = self._answered(self._worker.attend)
        return Dead(str(answer.error)) if isinstance(answer, Failed) else answer

    def _answered(self, made: Callable[[], Done]) -> Done | Failed | Dead:
        try:
            return made()
        except OutOfStepError as error:
            return Dead(str(error))
        except (CreditreeError, MemoryError) as error:
            return Failed(error, alone=self._is_alone)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return Failed(error, alone=self._is_alone)

    @property
    def _is_alone(self) -> bool:
        return self._seat is not None and self._worker is not None and self._worker.is_alone
