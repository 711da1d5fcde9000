"""A crew within the process: workers that get their orders as another process would, and no Ray."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from creditree.models.trained import Trained
from creditree.scale.crew import Crew, Heard, Order, SentWeights
from creditree.scale.engine import CrewEngine
from creditree.scale.learner import ShardedLearner
from creditree.scale.rollout import CrewHelpers
from creditree.scale.verifier import CrewVerifier
from creditree.scale.worker import CrewWorker
from creditree.train.settings import Parts


@dataclass(eq=False)
class CrewBeside:
    """Workers that take turns; `orders` are those that were done, and who did them."""

    workers: Sequence[CrewWorker]
    orders: list[tuple[int, str]] = field(default_factory=list)
    cpu_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.workers)

    def run(self, orders: Sequence[Order], trained: Trained | None, heard: Heard | None = None) -> list[Any]:
        """Do the orders, the last one first: the order in which they are done must not matter."""
        weights = SentWeights.of(trained)
        values: list[Any] = [None] * len(orders)
        for number in reversed(range(len(orders))):
            place = len(self.orders) % self.size
            order, sent = pickle.loads(pickle.dumps((orders[number], weights)))
            reply = pickle.loads(pickle.dumps(self.workers[place].do(order, sent)))
            self.orders.append((place, order.what))
            self.cpu_s += sum(reply.seconds.cpu.values())
            values[number] = reply.value
            if heard is not None:
                heard(number, reply)
        return values

    def close(self) -> None:
        """Do nothing."""


def with_crew(parts: Parts, crew: Crew, rows: int = 512) -> Parts:
    """Return the parts of a driver whose crew this is."""
    learner = ShardedLearner(parts.learner, crew)
    engine = CrewEngine(crew, parts.model, learner.trained, rows, "cpu")
    verifier = CrewVerifier(parts.verifier, crew)
    return replace(parts, learner=learner, engine=engine, verifier=verifier, helpers=CrewHelpers(crew))
