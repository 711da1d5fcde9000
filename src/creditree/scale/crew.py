"""What a crew is: workers that hold the same model and do what the driver, which makes the updates, hands out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from creditree.ledger import Seconds

if TYPE_CHECKING:
    from creditree.models.trained import Trained


@dataclass(frozen=True, eq=False, slots=True)
class SentWeights:
    """What is trained, as the driver has it now; `digest` tells one state from another, None: the base model."""

    digest: bytes | None = None
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    @classmethod
    def of(cls, trained: "Trained | None", known: bytes | None = None) -> "SentWeights":
        """Return the state; its arrays are left out where its digest is `known`."""
        if trained is None or trained.is_off:
            return cls()
        digest = sha256()
        for matrix in trained.matrices:
            digest.update(matrix.detach().contiguous().view(torch.uint8).cpu().numpy().data)
        if digest.digest() == known:
            return cls(known)
        arrays = {name: tensor.cpu().numpy() for name, tensor in trained.state().items()}
        return cls(digest.digest(), arrays)


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """One piece of work: which method of a `CrewWorker` is called, and with what.

    What it returns depends on that and on the weights alone: it does not matter who does it, nor how often.
    """

    what: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Reply:
    """What came of an order, and the seconds that it took the worker."""

    value: Any
    seconds: Seconds


Heard = Callable[[int, Reply], None]
"""Takes the index of an order that was done, and what came of it, in the order in which they are done."""


class Crew(Protocol):
    """Does orders with the weights as they are when it is asked, each by whoever is free."""

    @property
    def size(self) -> int:
        """How many workers it has when all are well."""
        ...

    @property
    def cpu_s(self) -> float:
        """Processor seconds that its workers have worked so far."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of it: sentences without a full stop."""
        ...

    def run(self, orders: Sequence[Order], trained: "Trained | None", heard: Heard | None = None) -> list[Any]:
        """Return the values of all orders, in their order. What a worker raised as a user's mistake is raised here."""
        ...

    def close(self) -> None:
        """Send the workers away."""
        ...
