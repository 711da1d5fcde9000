"""An engine whose samples are drawn by a crew: whoever measures or explores with it does not know."""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.pulse import Pulse, Told
from creditree.engines.requests import check_requests
from creditree.ledger import Ledger
from creditree.models.load import Model
from creditree.models.trained import Trained
from creditree.scale.crew import Crew, Order, Reply
from creditree.scale.shards import pieces_of
from creditree.tree import IntArray

GOOD_ROWS = {"cpu": 16, "cuda": 256}
"""Completions that a worker decodes in about the time of one, since reading the weights takes as long; by device. Ours.
"""


class CrewEngine(Engine):
    """Deals completions to the workers in pieces; `trained`: what they sample from, unless it is switched off.

    The completions of one request may be drawn by several workers: each has its own random numbers. `rows`:
    completions that one worker decodes together;  `device`: where.
    """

    def __init__(self, crew: Crew, model: Model, trained: Trained | None, rows: int, device: str) -> None:
        self.crew, self.model = crew, model
        self.trained, self._rows = trained, rows
        self.good_rows = GOOD_ROWS.get(device.partition(":")[0], GOOD_ROWS["cpu"])

    @property
    def max_rows(self) -> int:
        """How many completions all workers decode together."""
        return self._rows * self.crew.size

    @property
    def num_workers(self) -> int:
        """How many workers draw side by side."""
        return self.crew.size

    @property
    def notes(self) -> tuple[str, ...]:
        """Who samples."""
        return self.crew.notes

    def forget(self) -> None:
        """Do nothing: workers store nothing from one piece to the next."""

    def trunk(self, handles: IntArray) -> None:
        """Return None: no inputs of a layer are stored here."""

    def close(self) -> None:
        """Send the workers away."""
        self.crew.close()

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Return each request's samples in the order of its keys."""
        if not requests:
            return [], Ledger()
        check_requests(self.model, requests)
        owners = [(index, place) for index, request in enumerate(requests) for place in range(len(request.keys))]
        costs = [requests[index].max_new_tokens for index, _ in owners]
        pieces = pieces_of(costs, [1] * len(owners), self.crew.size, self.good_rows)
        chosen = [sorted(owners[number] for number in piece) for piece in pieces]
        orders = [Order("sample", (_requests(requests, piece), sampling)) for piece in chosen]
        ear = _Ear(len(owners), told)
        values = self.crew.run(orders, self.trained, lambda _, reply: ear.hear(reply))
        samples: list[list[Sample | None]] = [[None] * len(request.keys) for request in requests]
        ledger = Ledger()
        for piece, (drawn, cost) in zip(chosen, values, strict=True):
            ledger.add(cost)
            for (index, place), sample in zip(piece, (own for group in drawn for own in group), strict=True):
                samples[index][place] = sample
        return [[sample for sample in own if sample is not None] for own in samples], ledger


def _requests(requests: Sequence[SampleRequest], piece: Sequence[tuple[int, int]]) -> list[SampleRequest]:
    """Return the requests of a piece, each with its own of the keys; (request, key) are in order."""
    keys: dict[int, list[int]] = {}
    for index, place in piece:
        keys.setdefault(index, []).append(place)
    return [
        replace(requests[index], keys=tuple(requests[index].keys[place] for place in places), handles=None)
        for index, places in keys.items()
    ]


class _Ear:
    """Hears what workers have done, and tells how far a call is."""

    def __init__(self, rows: int, told: Told | None) -> None:
        self._rows, self._told, self._begun = rows, told, monotonic()
        self._finished = self._tokens = 0

    def hear(self, reply: Reply) -> None:
        drawn = [sample for group in reply.value[0] for sample in group]
        self._finished += len(drawn)
        self._tokens += sum(len(sample.token_ids) for sample in drawn)
        if self._told is not None:
            self._told(Pulse(self._rows, self._finished, self._tokens, monotonic() - self._begun))
